// What the reader looks at: the position in the log, the selection, and the views that show them.

import { formatAddress, parseAddress } from "./address.js";
import { ConnectionView } from "./connection.js";
import { DetailView } from "./detail.js";
import { setText } from "./dom.js";
import { plural } from "./format.js";
import { HeaderView } from "./header.js";
import { listenToKeys } from "./keys.js";
import { Moves } from "./moves.js";
import { Playback } from "./playback.js";
import { idOfCall, idOfNode, rowsAbove } from "./rows.js";
import { Scrubber } from "./scrubber.js";
import { Search } from "./search.js";
import { makeSplitter } from "./splitter.js";
import { Shares } from "./shares.js";
import { StopControl } from "./stop.js";
import { Blobs } from "./text.js";
import { TreeView } from "./tree.js";
import { WatchedVariable } from "./watched.js";

const TICK_MS = 1000;
const FOLLOW_MS = 600;
const READING_DRAW_MS = 300;
/** Browsers refuse more than a few changes of the address a second. */
const SAY_MS = 500;

export class RunPage {
  constructor(root, log) {
    this.root = root;
    this.log = log;
    const said = parseAddress(location.hash);
    this.selection = { node: said.node, step: said.step, call: said.call };
    /** The seq that is shown; null for the newest. */
    this.seq = said.seq;
    /** The selection goes along with what happens, live or played. */
    this.following = false;
    this.unseenFrom = null;
    this.reading = true;
    this.receivedAt = performance.now();
    this.drawnAt = -READING_DRAW_MS;
    this.lostAt = null;
    this.variablesOpen = false;
    this.moves = new Moves(this);
    this.#makeViews();
    this.#makePlayback();
    this.watched.name = said.watch;
    this.#listen();
  }

  /** The log has grown. */
  changed() {
    this.receivedAt = performance.now();
    // While the record streams in, drawing each piece would cost more than reading it.
    if (this.reading && this.receivedAt - this.drawnAt < READING_DRAW_MS) return;
    this.draw();
  }

  /** All that was on record at the start is here. */
  loaded() {
    this.reading = false;
    this.unseenFrom = this.log.last;
    const running = this.log.live.finished_at === null;
    this.following = running && location.hash === "";
    if (location.hash !== "") this.#showPane("detail");
    this.#flush();
    this.#revealSelection();
  }

  connection(state) {
    // Without a connection nobody knows how far the session is: its clock stands still.
    this.lostAt = state.since ? (this.lostAt ?? performance.now()) : null;
    this.connectionView.update(state);
    if (state.state !== "closed") return;
    // Whoever may not see the session any more need not ask for its quotas every few seconds.
    this.root.querySelector(".run-quotas")?.remove();
    if (this.log.last === 0) setText(this.treeEmpty, state.reason);
  }

  /** Draw before the next frame; however many events came, once. */
  draw() {
    this.frame ??= requestAnimationFrame(() => this.#flush());
  }

  get tree() {
    return this.seq === null ? this.log.live : this.log.stateAt(this.seq);
  }

  get position() {
    return this.seq === null ? this.log.last : Math.min(this.seq, this.log.last);
  }

  /** Show the state after `seq`. */
  goTo(seq) {
    this.seq = seq >= this.log.last ? null : Math.max(1, seq);
    this.draw();
    this.#sayLater();
  }

  /** Show the state after `seq`, and select something in it. */
  moveTo(seq, selection) {
    this.playback.stop();
    this.goTo(seq);
    this.select(selection);
  }

  followLive() {
    this.playback.stop();
    this.seq = null;
    this.following = true;
    this.unseenFrom = this.log.last;
    this.#follow();
    this.#flush();
    this.detail.scrollToEnd();
  }

  select(selection) {
    this.following = false;
    this.selection = selection;
    this.unseenFrom = this.log.last;
    this.#flush();
    this.#revealSelection();
    this.#say();
  }

  #makeViews() {
    const find = (selector) => this.root.querySelector(selector);
    const blobs = new Blobs(this.root.dataset.blobs);
    const context = {
      blobs,
      onSelect: (id) => this.moves.row(id),
      addressOf: (selection) => formatAddress(selection),
      sharesOf: (node) => this.shares.of(node),
      isOpen: (what) => what === "variables" && this.variablesOpen,
    };
    this.shares = new Shares(this.root.dataset.rollouts, () => this.draw());
    this.header = new HeaderView(this.root, blobs);
    this.treeView = new TreeView(find(".tree"), { onSelect: (row, how) => this.#selectRow(row, how) });
    this.treeEmpty = find('[data-show="tree-empty"]');
    this.detail = new DetailView(find(".detail"), context);
    this.pill = find(".pill");
    this.panes = find(".panes");
    this.connectionView = new ConnectionView(find('[data-show="connection"]'));
    const stop = find('details[data-show="stop"]');
    this.stop = stop && new StopControl(stop);
    this.search = new Search(find(".search"), {
      state: () => this.tree,
      onFound: (ids) => {
        this.treeView.matches = ids;
        this.draw();
      },
      onGo: (id) => this.moves.row(id),
    });
    makeSplitter(find(".splitter"), this.panes);
  }

  #makePlayback() {
    const bar = this.root.querySelector(".scrubber");
    this.playback = new Playback(this.log, {
      position: () => this.position,
      go: (seq) => this.goTo(seq),
      onChange: () => {
        this.following = this.playback.playing;
        this.draw();
      },
      onEnd: () => this.log.live.finished_at === null && this.followLive(),
    });
    this.watched = new WatchedVariable(bar, {
      onChoose: () => {
        this.draw();
        this.#say();
      },
      onGo: (direction) => this.moves.change(direction),
    });
    this.scrubber = new Scrubber(bar, this.log, {
      go: (seq) => this.#jump(seq),
      follow: () => this.followLive(),
      event: (direction) => this.#jump(this.position + direction),
      step: (direction) => this.moves.stepEnd(direction),
      error: (direction) => this.moves.error(direction),
      togglePlay: () => this.playback.toggle(),
      setSpeed: (speed) => (this.playback.speed = speed),
    });
  }

  #listen() {
    this.pill.addEventListener("click", () => this.followLive());
    this.root.addEventListener("click", (event) => this.#do(event.target.closest("[data-do]")));
    addEventListener("hashchange", () => this.#readAddress());
    setInterval(() => this.log.live.finished_at === null && this.draw(), TICK_MS);
    // The reader who scrolls away from the end is reading: stop going along.
    this.detail.element.addEventListener("wheel", (event) => event.deltaY < 0 && this.#stopFollowing(), {
      passive: true,
    });
    this.detail.element.addEventListener("touchmove", () => this.#stopFollowing(), { passive: true });
    listenToKeys({
      j: () => this.moves.step(1),
      k: () => this.moves.step(-1),
      l: () => this.treeView.fold(true),
      h: () => this.treeView.fold(false),
      "]": () => this.moves.error(1),
      "[": () => this.moves.error(-1),
      " ": () => this.playback.toggle(),
      ".": () => this.#jump(this.position + 1),
      ",": () => this.#jump(this.position - 1),
      J: () => this.moves.stepEnd(1),
      K: () => this.moves.stepEnd(-1),
      n: () => this.moves.change(1),
      p: () => this.moves.change(-1),
      ">": () => this.scrubber.changeSpeed(1),
      "<": () => this.scrubber.changeSpeed(-1),
      f: () => this.followLive(),
      v: () => this.#toggleVariables(),
      "/": () => this.search.focus(),
      c: () => this.#copyLink(),
      "?": () => document.getElementById("keys").showModal(),
    });
  }

  #do(button) {
    const what = button?.dataset.do;
    if (what === "copy") this.#copyLink();
    else if (what === "keys") document.getElementById("keys").showModal();
    else if (what === "pane") this.#showPane(button.value);
  }

  #flush() {
    cancelAnimationFrame(this.frame);
    this.frame = undefined;
    this.drawnAt = performance.now();
    if (this.following) this.#follow();
    const { tree } = this;
    const now = this.#now(tree);
    const from = this.log.startedAt;
    const atEnd = this.detail.isAtEnd;
    this.header.update(tree, now);
    const { root_model, sub_model } = tree.config;
    this.panes.classList.toggle("one-model", root_model !== undefined && (sub_model ?? root_model) === root_model);
    // The scale is that of the whole record, so that bars keep their place while the reader scrubs.
    this.treeView.update(tree, {
      selected: this.selectedRow,
      from,
      to: this.seq === null ? now : Math.max(now, this.log.endedAt),
    });
    this.treeEmpty.hidden = this.treeView.rows.length > 0;
    setText(this.treeEmpty, this.reading ? "Reading the log…" : "No call yet: the session waits for a worker.");
    this.detail.update(tree, this.selection, now);
    if (this.following && atEnd) this.detail.scrollToEnd();
    this.#pill();
    this.#bar();
    const node = tree.nodes.get(this.selection.node);
    this.stop?.update(node && node.finished_at === null && !this.selection.call ? node : null);
  }

  #bar() {
    this.watched.update(this.log.live, this.selection.node, this.position);
    this.scrubber.update({
      seq: this.position,
      live: this.seq === null,
      following: this.following,
      playing: this.playback.playing,
      running: this.log.live.finished_at === null,
      watched: `${this.selection.node} ${this.watched.name}`,
      changes: this.watched.seqs,
    });
  }

  /** The time of what is shown: that of its last event, or now while it runs. */
  #now(tree) {
    if (this.seq !== null || tree.finished_at !== null || this.reading) return tree.at;
    return tree.at + ((this.lostAt ?? performance.now()) - this.receivedAt);
  }

  #pill() {
    const newer = this.log.last - (this.seq ?? this.unseenFrom ?? this.log.last);
    const show =
      !this.reading &&
      !this.following &&
      newer > 0 &&
      !this.playback.playing &&
      (this.seq === null || this.log.live.finished_at === null);
    this.pill.hidden = !show;
    if (show) setText(this.pill, `${plural(newer, "new event")} ↓`);
  }

  /** Go along with the node in which something happened last. */
  #follow() {
    const now = performance.now();
    if (now - (this.followedAt ?? -FOLLOW_MS) < FOLLOW_MS) return;
    const event = this.log.event(this.position);
    const node = event?.node ?? null;
    if (node === null || event.type === "session.stop_requested") return;
    this.followedAt = now;
    if (this.selection.node === node && this.selection.call === null) return;
    this.selection = { node, step: null, call: null };
    this.treeView.open(rowsAbove(this.tree, idOfNode(node)));
    queueMicrotask(() => this.treeView.tree && this.treeView.reveal(idOfNode(node)));
  }

  #stopFollowing() {
    if (!this.following) return;
    this.following = false;
    this.unseenFrom = this.log.last;
    this.draw();
  }

  get selectedRow() {
    // A batch is selected as the step that made it; its row is not part of the address.
    if (this.selection.row) return this.selection.row;
    return this.selection.call ? idOfCall(this.selection.call) : idOfNode(this.selection.node);
  }

  #selectRow(row, { clicked }) {
    if (row.kind === "llm") this.select({ node: row.node.node, step: row.step.step, call: row.call.call });
    else if (row.kind === "root" || row.kind === "rlm") this.select({ node: row.node.node, step: null, call: null });
    else this.select({ node: row.node.node, step: row.step.step, call: null, row: row.id });
    if (clicked) this.#showPane("detail");
  }

  #revealSelection() {
    const id = this.selectedRow;
    if (this.treeView.placeOf(id) < 0 && this.tree.nodes.has(this.selection.node)) {
      this.treeView.open(rowsAbove(this.tree, id));
      this.#flush();
    }
    this.treeView.reveal(id);
    if (this.selection.step !== null && this.selection.call === null) this.detail.showStep(this.selection.step);
  }

  /** Move to a place in the log by hand. */
  #jump(seq) {
    this.playback.stop();
    this.following = false;
    this.goTo(seq);
  }

  #toggleVariables() {
    this.variablesOpen = !this.variablesOpen;
    for (const each of this.root.querySelectorAll(".variables")) each.open = this.variablesOpen;
  }

  #showPane(name) {
    this.panes.dataset.pane = name;
    for (const button of this.root.querySelectorAll('[data-do="pane"]'))
      button.setAttribute("aria-pressed", button.value === name);
  }

  async #copyLink() {
    const link = new URL(this.#address, location.href).href;
    const label = this.root.querySelector('[data-do="copy"] span');
    try {
      await navigator.clipboard.writeText(link);
      setText(label, "Copied");
    } catch {
      // Without the permission, or over plain HTTP: the address bar has it.
      this.#say();
      setText(label, "In the address bar");
    }
    setTimeout(() => setText(label, "Copy link"), 2000);
  }

  get #address() {
    return formatAddress({ ...this.selection, seq: this.seq, watch: this.watched.name });
  }

  #say() {
    clearTimeout(this.sayTimer);
    this.sayTimer = undefined;
    history.replaceState(null, "", this.#address);
  }

  #sayLater() {
    this.sayTimer ??= setTimeout(() => this.#say(), SAY_MS);
  }

  #readAddress() {
    const said = parseAddress(location.hash);
    this.playback.stop();
    this.watched.name = said.watch;
    this.seq = said.seq !== null && said.seq < this.log.last ? said.seq : null;
    this.select({ node: said.node, step: said.step, call: said.call });
  }
}
