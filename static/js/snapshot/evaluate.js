// Expressions in the state of a step: sent on Ctrl+Enter, answered below the box, the newest first.

import { h, icon, setIcon } from "../run/dom.js";
import { bytes, duration, inert } from "../run/format.js";
import { showPython } from "../run/python.js";

const MAX_KEPT = 50;
const WAYS = {
  live: "in a copy kept in the running sandbox",
  scratch: "in a sandbox restored from the snapshot",
};
const STATUS_WORDS = { ok: "", error: "raised", timeout: "stopped at the time limit", killed: "the copy was killed" };

export class Evaluator {
  constructor(form, list) {
    this.form = form;
    this.list = list;
    this.code = form.elements.namedItem("code");
    /** What was sent, oldest first, for the arrow keys; `place` is where the reader is in it. */
    this.sent = [];
    this.place = 0;
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#send();
    });
    this.code.addEventListener("keydown", (event) => this.#key(event));
  }

  #key(event) {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      this.form.requestSubmit();
    } else if ((event.key === "ArrowUp" || event.key === "ArrowDown") && event.altKey) {
      event.preventDefault();
      this.#recall(event.key === "ArrowUp" ? -1 : 1);
    }
  }

  #recall(direction) {
    this.place = Math.min(this.sent.length, Math.max(0, this.place + direction));
    this.code.value = this.sent[this.place] ?? "";
  }

  async #send() {
    const code = this.code.value;
    if (code.trim() === "") return;
    this.#remember(code);
    const entry = new Entry(code, () => this.#again(code));
    this.list.prepend(entry.element);
    while (this.list.childElementCount > MAX_KEPT) this.list.lastElementChild.remove();
    try {
      const response = await fetch(this.form.action, {
        method: "POST",
        body: new FormData(this.form),
        credentials: "same-origin",
        headers: { Accept: "application/json" },
      });
      const answer = await answerOf(response);
      if (response.ok) entry.show(answer);
      else entry.refuse(`${answer.message} ${answer.hint ?? ""}`);
    } catch (error) {
      entry.refuse(`No answer came: ${error.message}. Try again.`);
    }
  }

  #again(code) {
    this.code.value = code;
    this.code.focus();
  }

  #remember(code) {
    if (this.sent[this.sent.length - 1] !== code) this.sent.push(code);
    this.sent = this.sent.slice(-MAX_KEPT);
    this.place = this.sent.length;
  }
}

async function answerOf(response) {
  const isJson = response.headers.get("Content-Type")?.startsWith("application/json");
  if (isJson) return response.json();
  const signedOut = response.redirected || response.status === 403;
  return { message: signedOut ? "You are not signed in any more." : `${response.status} ${response.statusText}` };
}

class Entry {
  constructor(code, again) {
    this.startedAt = performance.now();
    this.status = icon("running", "status running");
    this.facts = h("span.muted", null, "running…");
    this.body = h("div");
    const shown = h("pre.code", { dir: "auto" });
    showPython(shown, inert(code));
    const edit = h("button.button.link", { type: "button", onclick: again }, "Edit again");
    this.element = h(
      "li.evaluation.running",
      null,
      shown,
      h("div.evaluation-head", null, this.status, this.facts, edit),
      this.body,
    );
  }

  show(answer) {
    const good = answer.status === "ok";
    this.#end(good ? "finished" : "failed", factsOf(answer));
    const parts = [];
    if (answer.output) parts.push(h("pre.output", { dir: "auto" }, inert(answer.output)));
    if (answer.output_bytes > answer.output.length * 4)
      parts.push(h("p.muted", null, `${bytes(answer.output_bytes)} were printed; this is the beginning.`));
    if (answer.value !== null) parts.push(h("pre.value", { dir: "auto" }, inert(answer.value)));
    if (answer.error) {
      const { type, message, traceback = "" } = answer.error;
      parts.push(h("pre.failure", { dir: "auto" }, inert(traceback || `${type}: ${message}`)));
    }
    if (parts.length === 0 && good) parts.push(h("pre.muted", null, "(no value, no output)"));
    this.body.replaceChildren(...parts);
  }

  refuse(reason) {
    this.#end("failed", "not evaluated");
    this.body.replaceChildren(h("pre.failure", { role: "alert" }, inert(reason)));
  }

  #end(shape, facts) {
    this.element.className = `evaluation ${shape}`;
    setIcon(this.status, shape);
    this.status.setAttribute("class", `icon status ${shape}`);
    this.facts.textContent = facts;
  }
}

function factsOf({ status, duration_ms, total_ms, way }) {
  const facts = [STATUS_WORDS[status] ?? status, `${duration(duration_ms)} of ${duration(total_ms)}`, WAYS[way] ?? way];
  return facts.filter((fact) => fact !== "").join(" · ");
}
