// Stopping the session or the selected subtree: asked for once more in place, said at once, sent as the page's form.

import { setText } from "./dom.js";

export class StopControl {
  constructor(root) {
    this.form = root.querySelector("form");
    this.node = this.form.elements.namedItem("node");
    this.menu = root;
    this.subtree = root.querySelector("[data-stop=subtree]");
    this.said = root.querySelector("[data-stop=said]");
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#send(event.submitter);
    });
  }

  /** `node`: the selected running node, or null. */
  update(node) {
    this.subtree.hidden = node === null || node.node === 0;
    if (node) this.subtree.value = node.node;
    if (node) setText(this.subtree, `Stop node ${node.node} and all below it`);
  }

  async #send(button) {
    this.node.value = button.value;
    this.#say("Asking to stop…");
    for (const each of this.form.querySelectorAll("button")) each.disabled = true;
    try {
      const response = await fetch(this.form.action, {
        method: "POST",
        body: new FormData(this.form),
        credentials: "same-origin",
        redirect: "manual",
      });
      // The view answers with a redirect to this page, which a script does not follow.
      if (!response.ok && response.type !== "opaqueredirect")
        throw new Error(`${response.status} ${response.statusText}`);
      this.#say("Asked to stop; it ends when running calls have been cancelled.");
      this.menu.open = false;
    } catch (error) {
      this.#say(`Not stopped: ${error.message}. Try again.`);
    } finally {
      for (const each of this.form.querySelectorAll("button")) each.disabled = false;
    }
  }

  #say(text) {
    setText(this.said, text);
  }
}
