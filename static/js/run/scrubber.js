// The bar at the bottom: where in the log the page stands, marks to go to, and the buttons that move it.

import { setClass, setIcon, setText } from "./dom.js";
import { count, duration, time } from "./format.js";

const MARKS = [
  ["steps", "--text-faint", 0.45],
  ["limits", "--limited", 1],
  ["errors", "--failed", 1],
  ["answers", "--finished", 1],
];

export class Scrubber {
  /** `actions`: {go(seq), follow(), back(), forth(), error(direction), togglePlay(), setSpeed(n)}. */
  constructor(root, log, actions) {
    const at = (name) => root.querySelector(`[data-scrub="${name}"]`);
    this.root = root;
    this.log = log;
    this.range = at("range");
    this.canvas = at("marks");
    this.label = at("label");
    this.by = at("by");
    this.play = at("play");
    this.follow = at("follow");
    this.drawn = "";
    this.range.addEventListener("input", () => actions.go(this.#seqOf(Number(this.range.value))));
    this.by.addEventListener("change", () => this.update(this.state));
    at("back").addEventListener("click", actions.back);
    at("forth").addEventListener("click", actions.forth);
    at("error-back").addEventListener("click", () => actions.error(-1));
    at("error-forth").addEventListener("click", () => actions.error(1));
    this.play.addEventListener("click", actions.togglePlay);
    this.follow.addEventListener("click", actions.follow);
    at("speed").addEventListener("change", (event) => actions.setSpeed(Number(event.target.value)));
    new ResizeObserver(() => this.#drawMarks()).observe(this.canvas);
    matchMedia("(prefers-color-scheme: light)").addEventListener("change", () => this.#drawMarks());
  }

  /** `seq`: where the page stands; `live`: at the end and staying there; `following`: the selection goes along too. */
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
    setClass(this.root, `scrubber${live ? " live" : " past"}`);
    this.#drawMarks();
  }

  #seqOf(value) {
    return this.byTime ? this.log.seqAt(value) : value;
  }

  #drawMarks() {
    const { canvas, log } = this;
    const width = canvas.clientWidth;
    const height = canvas.clientHeight;
    const { marks } = log;
    const key = [width, height, this.byTime, log.last, getComputedStyle(canvas).getPropertyValue("--bg")].join();
    if (key === this.drawn || width === 0) return;
    this.drawn = key;
    const ratio = devicePixelRatio || 1;
    canvas.width = width * ratio;
    canvas.height = height * ratio;
    const pen = canvas.getContext("2d");
    pen.scale(ratio, ratio);
    const style = getComputedStyle(canvas);
    const [from, span] = this.byTime ? [log.startedAt, log.endedAt - log.startedAt] : [1, log.last - 1];
    // The thumb of a range stays inside its track by half its width.
    const inset = 8;
    for (const [name, colour, share] of MARKS) {
      pen.fillStyle = style.getPropertyValue(colour);
      if (name === "steps" && marks.steps.length > width / 4) continue; // a mark at every pixel tells nothing
      const drawnAt = new Set();
      for (const seq of marks[name]) {
        const value = this.byTime ? log.event(seq).at : seq;
        const x = Math.round(inset + ((value - from) / Math.max(1, span)) * (width - 2 * inset));
        if (drawnAt.has(x)) continue;
        drawnAt.add(x);
        pen.fillRect(x, height * (1 - share), name === "steps" ? 1 : 2, height * share);
      }
    }
  }
}
