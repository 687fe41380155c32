// What a cell printed, as it comes. The first and the newest part are in the document; the middle on request.

import { h } from "./dom.js";
import { bytes, headOf, inert, plural } from "./format.js";
import { TextView } from "./text.js";

const FIRST_CHARS = 16_000;
const LAST_CHARS = 32_000;

/**
 * A run of chunks between two sub-calls. `update` appends what is new. The state lets go of chunks in the middle:
 * `omitted` counts them and `resumesAt` is the seq of the first one after them. What was drawn before stays.
 */
export class OutputView {
  constructor(blobs) {
    this.blobs = blobs;
    this.head = h("pre.output-part", { dir: "auto" });
    this.gap = h("div.cut", { hidden: true });
    this.tail = h("pre.output-part", { dir: "auto" });
    this.element = h(
      "div.output",
      { role: "log", "aria-live": "off", "aria-label": "Output" },
      this.head,
      this.gap,
      this.tail,
    );
    this.#forget();
  }

  update({ chunks, omitted, resumesAt }) {
    // After a rerun of the cell, or when the reader goes back in time, it is another or a shorter list.
    const newest = chunks[chunks.length - 1].seq;
    if (this.first !== chunks[0].seq || this.last > newest) this.#forget();
    this.first = chunks[0].seq;
    for (const chunk of chunks) {
      if (chunk.seq <= this.last) continue;
      this.last = chunk.seq;
      this.taken += 1;
      this.#add(chunk, omitted > 0 && chunk.seq >= resumesAt);
    }
    this.missed = Math.max(0, chunks.length + omitted - this.taken);
    this.#trim();
  }

  #forget() {
    this.first = -1;
    this.last = -1;
    this.taken = 0;
    this.missed = 0;
    this.headChars = 0;
    this.tailChars = 0;
    this.hidden = [];
    this.tailChunks = [];
    this.head.replaceChildren();
    this.tail.replaceChildren();
    this.gap.hidden = true;
  }

  #add(chunk, afterGap) {
    const element = this.#element(chunk);
    const size = headOf(chunk.text).length;
    if (!afterGap && this.headChars + size <= FIRST_CHARS && this.tailChunks.length === 0) {
      this.head.append(element);
      this.headChars += size;
    } else {
      this.tail.append(element);
      this.tailChunks.push({ chunk, element, size });
      this.tailChars += size;
    }
  }

  #trim() {
    while (this.tailChars > LAST_CHARS && this.tailChunks.length > 1) {
      const { chunk, element, size } = this.tailChunks.shift();
      element.remove();
      this.tailChars -= size;
      this.hidden.push(chunk);
    }
    const count = this.hidden.length + this.missed;
    this.gap.hidden = count === 0;
    if (count === 0 || this.gap.dataset.count === String(count)) return;
    this.gap.dataset.count = count;
    const size = this.hidden.reduce((sum, { text }) => sum + (typeof text === "string" ? text.length : text.size), 0);
    const show = h("button.button.link", { type: "button", onclick: () => this.#showMore() }, "Show more");
    const parts = [];
    if (this.hidden.length) parts.push(h("span", null, `${bytes(size)} not shown`), show);
    if (this.missed) parts.push(h("span", null, `${plural(this.missed, "piece")} of output only in the download`));
    this.gap.replaceChildren(...parts);
  }

  #showMore() {
    let chars = 0;
    while (this.hidden.length && chars < FIRST_CHARS) {
      const chunk = this.hidden.shift();
      chars += headOf(chunk.text).length;
      this.head.append(this.#element(chunk));
    }
    delete this.gap.dataset.count;
    this.#trim();
  }

  #element(chunk) {
    const className = `chunk ${chunk.stream}${chunk.late ? " late" : ""}`;
    if (typeof chunk.text === "string") {
      const piece = h("span", { "data-seq": chunk.seq }, inert(chunk.text));
      piece.className = className;
      if (chunk.late) piece.title = "Written after the cell had ended, by what it left running";
      return piece;
    }
    const view = new TextView(this.blobs, { className });
    view.update(chunk.text);
    return view.element;
  }
}
