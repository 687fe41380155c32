// The right side: the selected node with its conversation, or the selected call.

import { ErrorView } from "./cell.js";
import { h, icon, reconcile, setClass, setIcon, setText } from "./dom.js";
import { STATUS_WORDS, cost, count, duration, plural, shapeOf, short } from "./format.js";
import { NotesView } from "./notes.js";
import { SharesView } from "./shares.js";
import { StepView, factsOfCall } from "./step.js";
import { TextView } from "./text.js";

const STEPS_SHOWN = 60;

export class DetailView {
  /** `context`: {blobs, onSelect(id), addressOf(selection), isOpen(what), sharesOf(node)}. */
  constructor(element, context) {
    this.element = element;
    this.context = context;
    this.shown = null;
    this.view = null;
  }

  update(tree, selection, now) {
    const key = selection.call ? `c${selection.call}` : `n${selection.node}`;
    if (key !== this.shown) {
      this.shown = key;
      this.view = selection.call ? new CallView(this.context) : new NodeView(this.context);
      this.element.replaceChildren(this.view.element);
      this.element.scrollTop = 0;
    }
    this.view.update(tree, selection, now);
  }

  /** Bring a step to the top, because the reader asked for it. */
  showStep(number) {
    this.view?.showStep?.(number);
    this.element.querySelector(`#step-${number}`)?.scrollIntoView({ block: "start" });
  }

  get isAtEnd() {
    const { scrollTop, scrollHeight, clientHeight } = this.element;
    return scrollTop + clientHeight > scrollHeight - 40;
  }

  scrollToEnd() {
    this.element.scrollTop = this.element.scrollHeight;
  }
}

class Path {
  constructor({ onSelect }) {
    this.onSelect = onSelect;
    this.element = h("nav.path", { "aria-label": "Path from the root" });
    this.key = null;
  }

  update(tree, node, last) {
    const path = [];
    for (let each = node; each && path.length < 32; each = each.parent === null ? null : tree.nodes.get(each.parent))
      path.unshift(each.node);
    const key = `${path.join("/")}|${last}`;
    if (key === this.key) return;
    this.key = key;
    const parts = path.flatMap((number, n) => {
      const name = number === 0 ? "root" : `node ${number}`;
      const here = n === path.length - 1 && last === "";
      const part = here
        ? h("span", { "aria-current": "true" }, name)
        : h("button.button.link", { type: "button", onclick: () => this.onSelect(`n${number}`) }, name);
      return n === 0 ? [part] : [h("span.faint", { "aria-hidden": "true" }, "›"), part];
    });
    if (last) parts.push(h("span.faint", { "aria-hidden": "true" }, "›"), h("span", { "aria-current": "true" }, last));
    this.element.replaceChildren(...parts);
  }
}

class NodeView {
  constructor(context) {
    this.context = context;
    this.views = new Map();
    this.first = null;
    this.path = new Path(context);
    this.status = icon("running");
    this.state = h("span");
    this.facts = h("p.muted.node-facts");
    this.prompt = new TextView(context.blobs, { className: "text prompt" });
    this.outcome = h("section.outcome", { hidden: true });
    this.outcomeTitle = h("h3");
    this.answer = new TextView(context.blobs, { className: "text answer" });
    this.error = new ErrorView(context.blobs);
    this.outcome.append(this.outcomeTitle, this.answer.element, this.error.element);
    this.shares = new SharesView();
    this.notes = new NotesView();
    this.earlier = h("button.button.small", { type: "button", hidden: true });
    this.earlier.addEventListener("click", () => {
      this.first = Math.max(0, this.first - STEPS_SHOWN);
      this.update(...this.args);
    });
    this.steps = h("div.steps");
    this.empty = h("p.empty");
    const state = h("p.node-state", null, this.status, this.state);
    this.element = h(
      "div.detail-body",
      null,
      this.path.element,
      state,
      this.facts,
      this.prompt.element,
      this.outcome,
      this.shares.element,
      this.notes.element,
      this.earlier,
      this.steps,
      this.empty,
    );
  }

  update(tree, selection, now) {
    this.args = [tree, selection, now];
    const node = tree.nodes.get(selection.node);
    this.empty.hidden = node !== undefined && node.steps.length > 0;
    for (const part of [this.state.parentElement, this.prompt.element, this.facts]) part.hidden = node === undefined;
    if (node === undefined) {
      setText(
        this.empty,
        selection.node === 0
          ? "The session has no node yet: it waits for a worker."
          : `Node ${selection.node} does not exist at this point of the log.`,
      );
      this.outcome.hidden = true;
      this.shares.update([]);
      this.notes.update(tree, { node: selection.node });
      this.steps.replaceChildren();
      this.views.clear();
      return;
    }
    setText(
      this.empty,
      node.finished_at === null ? "No step yet: the node waits for a worker." : "The node ended before its first step.",
    );
    this.#head(tree, node, now);
    this.#outcome(node);
    this.shares.update(this.context.sharesOf(node.node));
    this.notes.update(tree, node);
    this.#steps(tree, node, selection);
  }

  /** Make sure that a step is among those drawn. */
  showStep(number) {
    const [tree, selection] = this.args;
    const node = tree.nodes.get(selection.node);
    const place = node?.steps.findIndex((step) => step.step === number) ?? -1;
    if (place >= 0 && place < this.first) {
      this.first = place;
      this.update(...this.args);
    }
  }

  #head(tree, node, now) {
    this.path.update(tree, node, "");
    const last = node.steps[node.steps.length - 1];
    const status = node.status === "running" && last?.status === "waiting" ? "waiting" : node.status;
    setClass(this.state.parentElement, `node-state status ${shapeOf(status)}`);
    setIcon(this.status, shapeOf(status));
    this.status.setAttribute("class", `icon ${shapeOf(status)}`);
    setText(this.state, node.stopping ? "stopping" : (STATUS_WORDS[status] ?? status));
    setText(this.facts, factsOfNode(node, now));
    // The question and the answer of the root stand at the top of the page.
    this.prompt.element.hidden = node.node === 0;
    this.prompt.update(node.prompt);
  }

  #outcome(node) {
    this.outcome.hidden = node.node === 0 || node.finished_at === null || (node.answer === null && node.error === null);
    if (this.outcome.hidden) return;
    setClass(this.outcome, `outcome ${shapeOf(node.status)}`);
    setText(
      this.outcomeTitle,
      node.answer === null ? "Failed" : node.partial ? "Partial answer: what was there when it ended early" : "Answer",
    );
    this.answer.element.hidden = node.answer === null;
    if (node.answer !== null) this.answer.update(node.answer);
    this.error.update(node.error);
  }

  #steps(tree, node, selection) {
    // A node that runs for hours has hundreds of steps: the newest are drawn, and earlier ones on request.
    this.first ??= Math.max(0, node.steps.length - STEPS_SHOWN);
    this.first = Math.min(this.first, Math.max(0, node.steps.length - 1));
    const items = node.steps
      .slice(this.first)
      .map((step) => ({ key: step.step, tree, node, step, selected: selection.step === step.step }));
    this.earlier.hidden = this.first === 0;
    setText(this.earlier, `Show ${plural(this.first, "earlier step")}`);
    reconcile(this.steps, this.views, items, () => new StepView(this.context));
  }
}

function factsOfNode(node, now) {
  const { own, subtree } = node;
  const facts = [node.model];
  if (node.depth > 0) facts.push(`depth ${node.depth}`);
  facts.push(duration((node.finished_at ?? now) - node.started_at), plural(node.steps.length, "step"));
  facts.push(`${short(own.input_tokens + own.output_tokens)} tokens, ${cost(own.cost_micro_usd, own.unpriced_calls)}`);
  if (subtree.nodes > 1) {
    const all = short(subtree.input_tokens + subtree.output_tokens);
    facts.push(
      `with ${plural(subtree.nodes - 1, "node")} below: ${all} tokens, ${cost(subtree.cost_micro_usd, subtree.unpriced_calls)}`,
    );
  }
  if (subtree.errors) facts.push(plural(subtree.errors, "error"));
  if (node.sandbox)
    facts.push(
      `sandbox ${[node.sandbox.provider, node.sandbox.tier].filter(Boolean).join(" / ")} ${node.sandbox.state}`,
    );
  if (node.sandboxes_lost) facts.push(`${count(node.sandboxes_lost)} lost and rebuilt`);
  if (node.limit) facts.push(`limit ${node.limit}`);
  return facts.filter(Boolean).join(" · ");
}

class CallView {
  constructor(context) {
    this.path = new Path(context);
    this.status = icon("running");
    this.state = h("span");
    this.facts = h("p.muted.node-facts");
    this.prompt = new TextView(context.blobs, { className: "text prompt" });
    this.reply = new TextView(context.blobs, { className: "text answer" });
    this.replyTitle = h("h3", null, "Reply");
    this.error = new ErrorView(context.blobs);
    this.empty = h("p.empty");
    const state = h("p.node-state", null, this.status, this.state);
    this.element = h(
      "div.detail-body",
      null,
      this.path.element,
      state,
      this.facts,
      h("h3", null, "Prompt"),
      this.prompt.element,
      this.replyTitle,
      this.reply.element,
      this.error.element,
      this.empty,
    );
  }

  update(tree, { node: number, call: wanted }) {
    const place = tree.calls.get(wanted);
    const node = tree.nodes.get(place?.node ?? number);
    const call = node && findCall(node, place, wanted);
    this.empty.hidden = call !== undefined;
    for (const part of this.element.children) if (part !== this.empty) part.hidden = call === undefined;
    if (call === undefined) {
      setText(this.empty, `Call ${wanted} is not made yet at this point of the log.`);
      return;
    }
    this.path.update(tree, node, `step ${place.step}, cell ${place.cell}, call ${wanted}`);
    const shape = shapeOf(call.status);
    setClass(this.state.parentElement, `node-state status ${shape}`);
    setIcon(this.status, shape);
    this.status.setAttribute("class", `icon ${shape}`);
    setText(this.state, STATUS_WORDS[call.status] ?? call.status);
    setText(this.facts, [call.model, factsOfCall(call)].filter(Boolean).join(" · "));
    this.prompt.update(call.prompt ?? "(not recorded)");
    this.replyTitle.hidden = this.reply.element.hidden = call.reply === null;
    if (call.reply !== null) this.reply.update(call.reply === "" ? "(empty)" : call.reply);
    this.error.update(call.error);
  }
}

function findCall(node, place, wanted) {
  const step = node.steps.find((each) => each.step === place.step);
  const cell = step?.cells.find((each) => each.cell === place.cell);
  const subcall = cell?.subcalls.find((each) => each.subcall === place.subcall);
  const calls = place.inCell ? subcall?.calls : step?.calls;
  return calls?.find((each) => each.call === wanted);
}
