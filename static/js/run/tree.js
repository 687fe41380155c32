// The tree as a window over its rows: only what is on the screen is in the document, whatever the size of the session.

import { h, icon, setClass, setIcon, setText } from "./dom.js";
import { STATUS_WORDS, cost, duration, short } from "./format.js";
import { isInherited } from "./inherited.js";
import { factsOf } from "./rowfacts.js";
import { visibleRows } from "./rows.js";

const ROW_PX = 26;
const SPARE_ROWS = 8;
const INDENT_PX = 11;
const MAX_INDENT = 16;
/** Browsers cap an element's height; taller trees scroll by a scaled offset. */
const MAX_HEIGHT_PX = 8_000_000;
const KINDS = { root: "root", rlm: "rlm", llm: "llm", batch: "batch", calls: "calls" };

export class TreeView {
  /** `onSelect(row, {clicked})` hears what the reader picks. */
  constructor(element, { onSelect }) {
    this.element = element;
    this.onSelect = onSelect;
    this.opened = new Map();
    this.rows = [];
    this.places = new Map();
    this.pool = [];
    this.selected = null;
    this.matches = null;
    this.sizer = h("div.tree-sizer", { role: "presentation" });
    this.window = h("div.tree-window", { role: "presentation" });
    this.sizer.append(this.window);
    element.append(this.sizer);
    element.addEventListener("scroll", () => this.#later(), { passive: true });
    element.addEventListener("keydown", (event) => this.#key(event));
    this.window.addEventListener("click", (event) => this.#click(event));
    new ResizeObserver(() => this.#later()).observe(element);
  }

  /** Show `tree`; `from` and `to` are the times that the duration bars span. */
  update(tree, { selected, from, to }) {
    this.tree = tree;
    this.selected = selected;
    this.from = from;
    this.to = to;
    this.rows = visibleRows(tree, this.opened);
    this.places = null;
    this.draw();
  }

  /** Where a row is, or -1. */
  placeOf(id) {
    this.places ??= new Map(this.rows.map((row, n) => [row.id, n]));
    return this.places.get(id) ?? -1;
  }

  open(ids) {
    for (const id of ids) this.opened.set(id, true);
  }

  /** Scroll as little as needed to show the row. Only ever called for something that the reader did. */
  reveal(id) {
    const place = this.placeOf(id);
    if (place < 0) return;
    const { scrollTop, clientHeight } = this.element;
    const top = place * ROW_PX * this.#scale();
    if (top < scrollTop) this.element.scrollTop = top;
    else if (top + ROW_PX > scrollTop + clientHeight) this.element.scrollTop = top + ROW_PX - clientHeight;
    this.draw();
  }

  /** Fold or unfold the selected row, or go to the row above it or the first one in it. */
  fold(open) {
    const place = this.placeOf(this.selected);
    const row = this.rows[place];
    if (row === undefined) return;
    if (row.open !== null && row.open !== open) this.#toggle(row);
    else if (open && row.open) this.select(place + 1);
    else if (!open) this.select(this.#placeAbove(place));
  }

  select(place) {
    const row = this.rows[Math.max(0, Math.min(place, this.rows.length - 1))];
    if (row === undefined) return;
    this.onSelect(row, { clicked: false });
    this.reveal(row.id);
  }

  draw() {
    const { element } = this;
    const scale = this.#scale();
    const first = Math.max(0, Math.floor(element.scrollTop / scale / ROW_PX) - SPARE_ROWS);
    const shown = Math.ceil(element.clientHeight / ROW_PX) + 2 * SPARE_ROWS;
    const last = Math.min(this.rows.length, first + shown);
    this.sizer.style.height = `${Math.min(this.rows.length * ROW_PX, MAX_HEIGHT_PX)}px`;
    const offset = element.scrollTop - (element.scrollTop / scale - first * ROW_PX);
    this.window.style.transform = `translateY(${offset}px)`;
    while (this.pool.length < last - first) {
      const view = new RowView(this.pool.length);
      this.pool.push(view);
      this.window.append(view.element);
    }
    let active = "";
    this.pool.forEach((view, n) => {
      const row = this.rows[first + n];
      view.element.hidden = first + n >= last;
      if (view.element.hidden) return;
      view.update(this.tree, row, {
        selected: row.id === this.selected,
        found: this.matches?.has(row.id),
        from: this.from,
        to: this.to,
      });
      if (row.id === this.selected) active = view.element.id;
    });
    if (active) element.setAttribute("aria-activedescendant", active);
    else element.removeAttribute("aria-activedescendant");
  }

  #scale() {
    const height = this.rows.length * ROW_PX;
    return height > MAX_HEIGHT_PX ? MAX_HEIGHT_PX / height : 1;
  }

  #later() {
    this.frame ??= requestAnimationFrame(() => {
      this.frame = undefined;
      if (this.tree) this.draw();
    });
  }

  #placeAbove(place) {
    const { level } = this.rows[place];
    for (let n = place - 1; n >= 0; n--) if (this.rows[n].level < level) return n;
    return place;
  }

  #toggle(row) {
    this.opened.set(row.id, !row.open);
    this.rows = visibleRows(this.tree, this.opened);
    this.places = null;
    this.draw();
  }

  #click(event) {
    const view = this.pool.find(({ element }) => element.contains(event.target));
    if (view === undefined) return;
    if (event.target.closest(".twist") && view.row.open !== null) this.#toggle(view.row);
    else this.onSelect(view.row, { clicked: true });
  }

  #key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const place = this.placeOf(this.selected);
    const page = Math.max(1, Math.floor(this.element.clientHeight / ROW_PX) - 1);
    const moves = {
      ArrowDown: place + 1,
      ArrowUp: place - 1,
      Home: 0,
      End: this.rows.length - 1,
      PageDown: place + page,
      PageUp: place - page,
    };
    if (event.key in moves) this.select(moves[event.key]);
    else if (event.key === "ArrowRight") this.fold(true);
    else if (event.key === "ArrowLeft") this.fold(false);
    else return;
    event.preventDefault();
    event.stopPropagation();
  }
}

class RowView {
  constructor(number) {
    this.twist = icon("open");
    this.status = icon("running");
    this.twistBox = h("span.twist", null, this.twist);
    this.kind = h("span.kind");
    this.words = h("bdi.words");
    this.name = h("span.row-name", null, this.twistBox, this.status, this.kind, this.words);
    this.model = h("bdi.row-model");
    this.bar = h("span.bar-fill");
    this.cost = h("span.row-number");
    this.tokens = h("span.row-number");
    this.errors = h("span.row-errors");
    this.element = h(
      "div.row",
      { role: "treeitem", id: `row-${number}` },
      this.name,
      this.model,
      h("span.row-bar", null, this.bar),
      this.cost,
      this.tokens,
      this.errors,
    );
  }

  update(tree, row, { selected, found, from, to }) {
    this.row = row;
    const facts = factsOf(tree, row);
    const { element } = this;
    // A node that goes on in the fork is its own; one that ended before is the parent's.
    const inherited = row.kind !== "root" && isInherited(tree, row.kind === "rlm" ? row.node : row.step);
    setClass(
      element,
      `row ${facts.shape}${selected ? " selected" : ""}${found ? " found" : ""}${row.kind === "root" ? " root" : ""}${inherited ? " inherited" : ""}`,
    );
    element.dataset.row = row.id;
    element.setAttribute("aria-level", row.level + 1);
    element.setAttribute("aria-posinset", row.pos);
    element.setAttribute("aria-setsize", row.size);
    element.setAttribute("aria-selected", selected);
    if (row.open === null) element.removeAttribute("aria-expanded");
    else element.setAttribute("aria-expanded", row.open);
    this.name.style.paddingLeft = `${Math.min(row.level, MAX_INDENT) * INDENT_PX}px`;
    this.twistBox.classList.toggle("none", row.open === null);
    setIcon(this.twist, row.open ? "open" : "closed");
    setIcon(this.status, facts.shape);
    this.status.setAttribute("class", `icon status ${facts.shape}`);
    setText(this.kind, KINDS[row.kind]);
    setClass(this.kind, `kind kind-${row.kind}`);
    setText(this.words, facts.words);
    setText(this.model, facts.model);
    setText(this.cost, facts.cost === 0 && facts.unpriced === 0 ? "–" : cost(facts.cost, facts.unpriced));
    setText(this.tokens, facts.tokens === 0 ? "–" : short(facts.tokens));
    setText(this.errors, facts.errors === 0 ? "" : short(facts.errors));
    this.#drawBar(facts, from, to);
    const took = duration((facts.end ?? to) - facts.start);
    const state = facts.stopping ? "stopping" : (STATUS_WORDS[facts.status] ?? facts.status);
    element.title = `${row.kind} · ${state} · ${took}${facts.errors ? ` · ${facts.errors} errors below` : ""}${inherited ? " · from the parent session" : ""}`;
  }

  #drawBar(facts, from, to) {
    const span = Math.max(1, to - from);
    const left = Math.max(0, Math.min(1, (facts.start - from) / span));
    const right = Math.max(left, Math.min(1, ((facts.end ?? to) - from) / span));
    this.bar.style.left = `${left * 100}%`;
    this.bar.style.width = `max(2px, ${(right - left) * 100}%)`;
  }
}
