// Search over what the nodes and calls say: prompts, code, replies, output, errors.

import { setText } from "./dom.js";
import { rowContains } from "./rowfacts.js";
import { visibleRows } from "./rows.js";

const MIN_CHARS = 2;
const MAX_FOUND = 1000;

export class Search {
  /** `onFound(ids)` gets the rows that match, or null; `onGo(id)` goes to one of them. */
  constructor(form, { state, onFound, onGo }) {
    this.input = form.querySelector("input");
    this.count = form.querySelector("[data-search=count]");
    this.state = state;
    this.onFound = onFound;
    this.onGo = onGo;
    this.found = [];
    this.place = -1;
    this.input.addEventListener("input", () => this.#look());
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.go(1);
    });
    this.input.addEventListener("keydown", (event) => {
      if (event.key === "Escape") this.clear();
      if (event.key === "Enter" && event.shiftKey) {
        event.preventDefault();
        this.go(-1);
      }
    });
  }

  focus() {
    this.input.focus();
    this.input.select();
  }

  clear() {
    this.input.value = "";
    this.input.blur();
    this.#look();
  }

  go(direction) {
    if (this.found.length === 0) return;
    this.place = (this.place + direction + this.found.length) % this.found.length;
    setText(this.count, `${this.place + 1} of ${this.found.length}`);
    this.onGo(this.found[this.place]);
  }

  #look() {
    const needle = this.input.value.trim().toLowerCase();
    this.place = -1;
    this.found = [];
    if (needle.length < MIN_CHARS) {
      setText(this.count, "");
      this.onFound(null);
      return;
    }
    // Everything is looked through, folded or not; a batch is one hit until it is opened.
    for (const row of visibleRows(this.state(), new Map())) {
      if (rowContains(row, needle)) this.found.push(row.id);
      if (this.found.length === MAX_FOUND) break;
    }
    setText(
      this.count,
      this.found.length === 0
        ? "nothing found"
        : `${this.found.length === MAX_FOUND ? "over " : ""}${this.found.length} found`,
    );
    this.onFound(new Set(this.found));
  }
}
