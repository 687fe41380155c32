// Texts of any size: a string as it stands, a long one by its head, and more of it from the server when asked for.

import { h } from "./dom.js";
import { bytes, inert } from "./format.js";
import { showPython } from "./python.js";

const PAGE_BYTES = 64 * 1024;
const MAX_PAGES_SHOWN = 4;

const encoder = new TextEncoder();

/** Reads pages of long texts; one for the page. */
export class Blobs {
  constructor(base) {
    this.base = base;
  }

  async page(sha256, offset) {
    const address = new URL(`${this.base}${sha256}`, location.href);
    address.searchParams.set("offset", offset);
    address.searchParams.set("length", PAGE_BYTES);
    const response = await fetch(address, { credentials: "same-origin" });
    if (!response.ok) throw new Error(`the text could not be read: ${response.status} ${response.statusText}`);
    const next = response.headers.get("X-Next-Offset");
    return { text: await response.text(), next: next === null ? null : Number(next) };
  }
}

/**
 * A `Text` in a <pre>. `update(text)` redraws only when it changed. Long texts show their head; "show more" reads on, and
 * pages that were read before are let go so that the document stays small.
 */
export class TextView {
  constructor(blobs, { python = false, className = "text" } = {}) {
    this.blobs = blobs;
    this.python = python;
    this.body = h("pre.body", { dir: "auto" });
    this.more = h("div.more", { hidden: true });
    this.element = h("div", null, this.body, this.more);
    this.element.className = className;
    this.key = null;
  }

  update(text) {
    const key = typeof text === "string" ? text : text.sha256;
    if (key === this.key) return;
    this.key = key;
    const short = typeof text === "string";
    this.#draw(short ? text : text.head);
    this.more.hidden = short;
    if (!short) this.#offerMore(text);
  }

  /** Append to a text that only grows, without touching what is there. */
  grow(parts) {
    const drawn = this.drawn ?? 0;
    if (drawn > parts.length || this.key !== null) {
      this.body.replaceChildren();
      this.drawn = 0;
    }
    for (const part of parts.slice(this.drawn ?? 0)) this.body.append(inert(part));
    this.drawn = parts.length;
    this.key = null;
    this.more.hidden = true;
  }

  #draw(text) {
    if (this.python) showPython(this.body, inert(text));
    else this.body.textContent = inert(text);
    this.drawn = undefined;
  }

  #offerMore(text) {
    const head = encoder.encode(text.head).length;
    const tail = text.tail ? h("pre.body.tail", { dir: "auto" }, inert(text.tail)) : null;
    const button = h("button.button.link", { type: "button" }, `Show more of ${bytes(text.size)}`);
    button.addEventListener("click", () => this.#read(text, 0));
    const rest = Math.max(0, text.size - head - encoder.encode(text.tail ?? "").length);
    this.more.replaceChildren(
      h("div.cut", null, h("span", null, `${bytes(rest)} not shown`), button),
      ...(tail ? [tail] : []),
    );
  }

  async #read(text, offset) {
    const key = this.key;
    const status = h("div.cut", { role: "status" }, `Reading from ${bytes(offset)}…`);
    this.more.replaceChildren(status);
    try {
      const { text: page, next } = await this.blobs.page(text.sha256, offset);
      if (this.key !== key) return;
      if (offset === 0) this.body.replaceChildren();
      this.body.append(h("span", { "data-offset": offset }, inert(page)));
      while (this.body.childElementCount > MAX_PAGES_SHOWN) this.body.firstElementChild.remove();
      this.#offerNext(text, next);
    } catch (error) {
      const again = h("button.button.link", { type: "button", onclick: () => this.#read(text, offset) }, "Try again");
      this.more.replaceChildren(h("div.cut.failed", { role: "alert" }, h("span.status", null, error.message), again));
    }
  }

  #offerNext(text, next) {
    const first = Number(this.body.firstElementChild.dataset.offset);
    const parts = [h("span", null, `${bytes(first)} to ${bytes(next ?? text.size)} of ${bytes(text.size)}`)];
    if (first > 0)
      parts.push(h("button.button.link", { type: "button", onclick: () => this.#read(text, 0) }, "From the start"));
    if (next !== null)
      parts.push(h("button.button.link", { type: "button", onclick: () => this.#read(text, next) }, "Show more"));
    this.more.replaceChildren(h("div.cut", null, ...parts));
  }
}
