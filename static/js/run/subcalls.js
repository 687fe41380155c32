// A call that code made, in its place in the cell: what it asked for and how far it is.

import { h, icon, setClass, setIcon, setText } from "./dom.js";
import { STATUS_WORDS, cost, duration, firstWords, plural, shapeOf } from "./format.js";
import { idOfCall, idOfNode } from "./rows.js";

const SHOWN_AT_FIRST = 6;
const MORE_AT_ONCE = 50;

/** `onSelect(id)` goes to a call or a node. `update({tree, subcalls})` takes one call, or several of a loop. */
export class SubcallsView {
  constructor({ onSelect }) {
    this.onSelect = onSelect;
    this.limit = SHOWN_AT_FIRST;
    this.status = icon("running");
    this.title = h("span.subcall-title");
    this.facts = h("span.muted");
    this.list = h("ul.subcall-list");
    this.more = h("button.button.link", { type: "button" });
    this.more.addEventListener("click", () => {
      this.limit += MORE_AT_ONCE;
      this.update(this.item);
    });
    this.lines = [];
    this.element = h(
      "section.subcall",
      null,
      h("header.subcall-head", null, this.status, this.title, this.facts),
      this.list,
      this.more,
    );
  }

  update(item) {
    this.item = item;
    const { tree, subcalls } = item;
    const calls = subcalls.flatMap((subcall) => subcall.calls);
    const children = subcalls.flatMap((subcall) => subcall.children);
    const expected = subcalls.reduce(
      (sum, { count, calls: c, children: n }) => sum + Math.max(count, c.length + n.length),
      0,
    );
    const failed =
      subcalls.reduce((sum, subcall) => sum + subcall.failed, 0) ||
      calls.filter((call) => call.status === "failed").length;
    const status =
      subcalls.find((subcall) => subcall.status !== "finished")?.status ?? (failed ? "failed" : "finished");
    setIcon(this.status, shapeOf(status));
    this.status.setAttribute("class", `icon status ${shapeOf(status)}`);
    setText(this.title, titleOf(subcalls));
    const done =
      calls.filter((call) => call.status === "finished").length +
      children.filter((number) => tree.nodes.get(number)?.status === "finished").length;
    const facts = [expected > 1 ? `${done} of ${expected} answered` : (STATUS_WORDS[status] ?? status)];
    if (failed) facts.push(`${failed} failed`);
    setText(this.facts, facts.join(" · "));
    this.#draw(tree, [...children.map((number) => tree.nodes.get(number)), ...calls]);
  }

  #draw(tree, targets) {
    const shown = targets.slice(0, this.limit);
    while (this.lines.length > shown.length) this.lines.pop().element.remove();
    shown.forEach((target, n) => {
      if (n === this.lines.length) {
        const line = new Line(this.onSelect);
        this.lines.push(line);
        this.list.append(line.element);
      }
      this.lines[n].update(target);
    });
    const rest = targets.length - shown.length;
    this.more.hidden = rest === 0;
    setText(this.more, `Show ${Math.min(rest, MORE_AT_ONCE)} of ${plural(rest, "other")}`);
  }
}

function titleOf(subcalls) {
  const [first] = subcalls;
  const name = `${first.kind}_query${first.batch ? "_batched" : ""}`;
  return subcalls.length > 1 ? `${name} × ${subcalls.length}` : name;
}

class Line {
  constructor(onSelect) {
    this.status = icon("running");
    this.prompt = h("bdi.subcall-prompt");
    this.reply = h("bdi.subcall-reply");
    this.facts = h("span.muted.subcall-facts");
    this.button = h("button.subcall-line", { type: "button" }, this.status, this.prompt, this.reply, this.facts);
    this.button.addEventListener("click", () => onSelect(this.id));
    this.element = h("li", null, this.button);
  }

  /** `target` is a node or a call. */
  update(target) {
    const isNode = target.call === undefined;
    this.id = isNode ? idOfNode(target.node) : idOfCall(target.call);
    const reply = isNode ? target.answer : target.reply;
    const shape = shapeOf(target.status);
    setClass(this.button, `subcall-line ${shape}`);
    setIcon(this.status, shape);
    this.status.setAttribute("class", `icon status ${shape}`);
    setText(this.prompt, firstWords(target.prompt) || "(prompt not recorded)");
    setText(this.reply, target.error ? firstWords(target.error.message) : firstWords(reply));
    const spent = isNode ? target.subtree.cost_micro_usd : target.cost_micro_usd;
    const took = target.finished_at === null ? "" : duration(target.finished_at - target.started_at);
    setText(this.facts, [took, spent ? cost(spent) : ""].filter(Boolean).join(" · "));
  }
}
