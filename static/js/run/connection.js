// Is the page live? Said only when it is not, with what it waits for and since when.

import { setClass, setText } from "./dom.js";
import { time } from "./format.js";

export class ConnectionView {
  constructor(element) {
    this.element = element;
    this.state = { state: "connecting", since: null };
    setInterval(() => this.#draw(), 1000);
  }

  update(state) {
    this.state = state;
    this.#draw();
  }

  #draw() {
    const { state, since, reason } = this.state;
    // A short break is mended before anybody has read about it.
    const away = since ? Date.now() - since : 0;
    const show = state === "closed" || (state !== "live" && away > 800);
    setClass(this.element, `connection${show ? " shown" : ""}${state === "closed" ? " closed" : ""}`);
    if (state === "closed") setText(this.element, reason);
    else setText(this.element, show ? `No connection since ${time(since)}, reconnecting…` : "");
  }
}
