// The bar at the bottom: where in the log the page stands, marks to go to, and the buttons that move it.

import { setClass, setIcon, setText } from "./dom.js";
import { count, duration, time } from "./format.js";
import { MarkCanvas } from "./markcanvas.js";

export class Scrubber {
  /** `actions`: {go(seq), follow(), event(direction), step(direction), error(direction), togglePlay(), setSpeed(n)}. */
  constructor(root, log, actions) {
    const at = (name) => root.querySelector(`[data-scrub="${name}"]`);
    this.root = root;
    this.log = log;
    this.range = at("range");
    this.label = at("label");
    this.by = at("by");
    this.play = at("play");
    this.follow = at("follow");
    this.speed = at("speed");
    this.marks = new MarkCanvas(at("marks"), at("legend"));
    this.range.addEventListener("input", () => actions.go(this.#seqOf(Number(this.range.value))));
    this.by.addEventListener("change", () => this.update(this.state));
    for (const what of ["event", "step", "error"]) {
      at(`${what}-back`).addEventListener("click", () => actions[what](-1));
      at(`${what}-forth`).addEventListener("click", () => actions[what](1));
    }
    this.play.addEventListener("click", actions.togglePlay);
    this.follow.addEventListener("click", actions.follow);
    this.speed.addEventListener("change", () => actions.setSpeed(Number(this.speed.value)));
    new ResizeObserver(() => this.#drawMarks()).observe(at("marks"));
    matchMedia("(prefers-color-scheme: light)").addEventListener("change", () => this.#drawMarks());
  }

  /**
   * `seq`: where the page stands; `live`: at the end and staying there; `following`: the selection goes along too;
   * `changes`: where the watched variable changed, `watched` which one that is.
   */
  update(state) {
    this.state = state;
    const { log } = this;
    const { seq, live, following, playing, running } = state;
    this.byTime = this.by.value === "time";
    this.range.min = this.byTime ? log.startedAt : Math.min(1, log.last);
    this.range.max = this.byTime ? Math.max(log.endedAt, log.startedAt + 1) : Math.max(log.last, 1);
    const at = log.event(seq)?.at ?? log.endedAt;
    this.range.value = this.byTime ? at : seq;
    this.range.disabled = log.last === 0;
    const since = log.last ? `${duration(at - log.startedAt)} · ${time(at)}` : "";
    setText(this.label, log.last ? `${count(seq)} / ${count(log.last)} · ${since}` : "no events yet");
    this.range.setAttribute("aria-valuetext", `event ${seq} of ${log.last}, ${since}`);
    setIcon(this.play.querySelector("svg"), playing ? "pause" : "play");
    this.play.setAttribute("aria-label", playing ? "Pause" : "Play the record");
    this.follow.setAttribute("aria-pressed", live && following);
    setText(this.follow.lastElementChild, running ? "Follow live" : "End");
    setClass(this.root, `scrubber${live ? " live" : " past"}${playing ? " playing" : ""}`);
    this.#drawMarks();
  }

  /** One speed up (1) or down (-1). */
  changeSpeed(direction) {
    const place = this.speed.selectedIndex + direction;
    if (place < 0 || place >= this.speed.options.length) return;
    this.speed.selectedIndex = place;
    this.speed.dispatchEvent(new Event("change"));
  }

  #seqOf(value) {
    return this.byTime ? this.log.seqAt(value) : value;
  }

  #drawMarks() {
    if (this.state === undefined) return;
    const { log, byTime } = this;
    const { watched, changes } = this.state;
    const scale = byTime
      ? { from: log.startedAt, to: log.endedAt, valueOf: (seq) => log.event(seq).at }
      : { from: 1, to: log.last, valueOf: (seq) => seq };
    this.marks.update({ ...log.marks, changes }, `${byTime} ${log.last} ${watched} ${changes.length}`, scale);
  }
}
