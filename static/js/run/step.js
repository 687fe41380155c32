// One turn of a node from top to bottom as it happened: what was new in the prompt, what the model said, each cell where
// the reply wrote it, and how the step ended.

import { CellView, ErrorView } from "./cell.js";
import { h, icon, reconcile, setClass, setIcon, setText } from "./dom.js";
import { STATUS_WORDS, bytes, cost, count, duration, firstWords, headOf, inert, plural, shapeOf } from "./format.js";
import { addressInParent, isInherited } from "./inherited.js";
import { TextView } from "./text.js";

const CALL_WORDS = { turn: "", final: "Last request for an answer", compaction: "Compaction" };

export class StepView {
  constructor(context) {
    this.context = context;
    this.views = new Map();
    this.status = icon("running");
    this.title = h("h3.step-title");
    this.facts = h("span.muted");
    this.parent = h("a.inherited-from", { hidden: true });
    this.link = h("a.step-link", { title: "Address of this step" }, icon("link"));
    this.body = h("div.step-body");
    this.element = h(
      "article.step",
      null,
      h("header.step-head", null, this.status, this.title, this.facts, this.parent, this.link),
      this.body,
    );
  }

  update({ tree, node, step, selected }) {
    const shape = shapeOf(step.status);
    const inherited = isInherited(tree, step);
    setClass(this.element, `step ${shape}${selected ? " selected" : ""}${inherited ? " inherited" : ""}`);
    this.element.id = `step-${step.step}`;
    setIcon(this.status, shape);
    this.status.setAttribute("class", `icon status ${shape}`);
    setText(this.title, `Step ${step.step}`);
    this.link.href = this.context.addressOf({ node: node.node, step: step.step });
    this.link.setAttribute("aria-label", `Address of step ${step.step}`);
    setText(this.facts, factsOfStep(step));
    this.parent.hidden = !inherited;
    if (inherited) {
      setText(this.parent, node.node === 0 ? `from the parent, step ${step.step}` : "from the parent");
      this.parent.href = addressInParent(tree, node, step);
    }
    reconcile(this.body, this.views, blocksOf(tree, node, step), (block) => new VIEWS[block.kind](this.context));
  }
}

function factsOfStep(step) {
  const facts = [
    step.status === "waiting"
      ? `waiting for ${plural(step.waits_for, "child node")}`
      : (STATUS_WORDS[step.status] ?? step.status),
  ];
  if (step.finished_at !== null) facts.push(duration(step.finished_at - step.started_at));
  const spent = step.calls.reduce((sum, call) => sum + (call.cost_micro_usd ?? 0), 0);
  if (spent > 0) facts.push(cost(spent));
  if (step.attempt > 1) facts.push(`attempt ${step.attempt}`);
  return facts.join(" · ");
}

/** What stands in a step, as keyed items. */
function blocksOf(tree, node, step) {
  const blocks = [];
  if (step.messages.length) blocks.push({ key: "messages", kind: "messages", messages: step.messages });
  for (const retry of step.retries)
    blocks.push({
      key: `retry${retry.seq}`,
      kind: "note",
      text: `Taken up again (attempt ${retry.attempt}): ${retry.reason}`,
    });
  if (step.compaction) blocks.push({ key: "compaction", kind: "compaction", compaction: step.compaction });
  const waiting = new Map(step.cells.map((cell) => [cell.cell, cell]));
  for (const call of step.calls) {
    blocks.push({ key: `call${call.call}`, kind: "call", call });
    if (call.status === "running") {
      blocks.push({ key: `call${call.call}:streamed`, kind: "streamed", call });
      continue;
    }
    partsOfReply(call.reply).forEach((part, n) => {
      const cell =
        part.code === undefined ? undefined : [...waiting.values()].find((each) => sameCode(each.code, part.code));
      if (cell) {
        waiting.delete(cell.cell);
        blocks.push({ key: `cell${cell.cell}`, kind: "cell", tree, node, step, cell });
      } else if (part.code !== undefined) blocks.push({ key: `call${call.call}:${n}`, kind: "code", text: part.code });
      else blocks.push({ key: `call${call.call}:${n}`, kind: "prose", text: part.text });
    });
  }
  for (const cell of waiting.values()) blocks.push({ key: `cell${cell.cell}`, kind: "cell", tree, node, step, cell });
  const told = [...step.calls, ...step.cells].some(({ error }) => error && error.message === step.error?.message);
  if (step.error && !told) blocks.push({ key: "error", kind: "error", error: step.error });
  if (step.snapshot || step.snapshot_error) blocks.push({ key: "snapshot", kind: "snapshot", node, step });
  return blocks;
}

const FENCE = /^```[^\n`]*\n([\s\S]*?)^```[^\S\n]*$/gm;

/** Prose and fenced code of a reply. A long reply, of which only the head is here, stays one text. */
function partsOfReply(reply) {
  if (reply === null || reply === "") return [];
  if (typeof reply !== "string") return [{ text: reply }];
  const parts = [];
  let end = 0;
  const prose = (text) => text.trim() && parts.push({ text: text.trim() });
  for (const match of reply.matchAll(FENCE)) {
    prose(reply.slice(end, match.index));
    parts.push({ code: match[1].replace(/\n$/, "") });
    end = match.index + match[0].length;
  }
  prose(reply.slice(end));
  return parts;
}

/** Is this the code that the cell ran? A long code is compared by its head. */
function sameCode(code, written) {
  return typeof code === "string" ? code.trim() === written.trim() : written.startsWith(code.head);
}

class MessagesView {
  constructor({ blobs }) {
    this.blobs = blobs;
    this.element = h("div.new-messages");
    this.shown = null;
  }

  update({ messages }) {
    if (messages === this.shown) return;
    this.shown = messages;
    this.element.replaceChildren(...messages.map((message) => this.#message(message)));
  }

  #message({ role, content }) {
    const view = new TextView(this.blobs, { className: "text" });
    const size = typeof content === "string" ? null : bytes(content.size);
    const details = h(
      "details.new-message",
      null,
      h(
        "summary",
        null,
        h("span.role", null, role),
        h("bdi.words", null, firstWords(content, 160)),
        size && h("span.muted", null, size),
      ),
    );
    // A long prompt is drawn when somebody looks at it.
    details.addEventListener("toggle", () => details.open && view.update(content), { once: true });
    details.append(view.element);
    return details;
  }
}

class CallHead {
  constructor({ blobs }) {
    this.status = icon("running");
    this.title = h("span.role");
    this.facts = h("span.muted");
    this.error = new ErrorView(blobs);
    this.element = h(
      "div.call",
      null,
      h("div.call-head", null, this.status, this.title, this.facts),
      this.error.element,
    );
  }

  update({ call }) {
    const shape = shapeOf(call.status);
    setIcon(this.status, shape);
    this.status.setAttribute("class", `icon status ${shape}`);
    setText(this.title, call.model);
    setText(this.facts, factsOfCall(call));
    this.error.update(call.error);
  }
}

/** What an LM call used, in words. */
export function factsOfCall(call) {
  const facts = CALL_WORDS[call.kind] ? [CALL_WORDS[call.kind]] : [];
  if (call.status !== "finished") facts.push(STATUS_WORDS[call.status] ?? call.status);
  if (call.input_tokens !== null) facts.push(`${count(call.input_tokens)} in`);
  if (call.cached_tokens) facts.push(`${count(call.cached_tokens)} of them cached`);
  if (call.output_tokens !== null) facts.push(`${count(call.output_tokens)} out`);
  if (call.status === "finished") facts.push(call.cost_micro_usd === null ? "cost unknown" : cost(call.cost_micro_usd));
  if (call.cost_source) facts.push(call.cost_source);
  if (call.finished_at !== null) facts.push(duration(call.duration_ms || call.finished_at - call.started_at));
  if (call.attempts > 1) facts.push(`${call.attempts} attempts`);
  if (call.maybe_repeated) facts.push("perhaps asked twice");
  if (call.finish_reason === "length") facts.push("cut at the output limit");
  return facts.join(" · ");
}

class StreamedView {
  constructor({ blobs }) {
    this.text = new TextView(blobs, { className: "text streamed" });
    this.element = this.text.element;
  }

  update({ call }) {
    this.text.grow(call.streamed);
  }
}

class PlainText {
  constructor({ blobs }, python) {
    this.view = new TextView(blobs, { python, className: python ? "code" : "text prose" });
    this.element = this.view.element;
  }

  update({ text }) {
    this.view.update(text);
  }
}

class ProseView extends PlainText {}

class CodeView extends PlainText {
  constructor(context) {
    super(context, true);
  }
}

class NoteView {
  constructor() {
    this.element = h("p.step-note");
  }

  update({ text }) {
    setText(this.element, text);
  }
}

class CompactionView {
  constructor({ blobs }) {
    this.text = new TextView(blobs, { className: "text" });
    this.summary = h("summary");
    this.element = h("details.new-message", null, this.summary, this.text.element);
  }

  update({ compaction }) {
    const { before_tokens, after_tokens, summary } = compaction;
    setText(
      this.summary,
      `The conversation was replaced by a summary: ${count(before_tokens)} to ${count(after_tokens)} tokens`,
    );
    this.text.update(headOf(summary) === "" ? "(empty)" : summary);
  }
}

class StepError extends ErrorView {
  constructor({ blobs }) {
    super(blobs);
  }

  update({ error }) {
    super.update(error);
  }
}

/** What was saved at the end of the step, and the ways back to it. */
class SnapshotView {
  constructor() {
    this.text = h("span");
    // Beside the run page: sessions/<uuid>/nodes/...
    this.shared = document.getElementById("run").dataset.shared !== undefined;
    const links = { inside: "Look inside", fork: "Fork from here", again: "Run again", branches: "Roll out branches" };
    this.links = Object.fromEntries(Object.entries(links).map(([name, words]) => [name, h("a", null, words)]));
    this.ways = h("span.snapshot-ways", null, ...Object.values(this.links));
    this.element = h("p.step-note.snapshot-line", null, this.text, this.ways);
  }

  update({ node, step }) {
    const { snapshot } = step;
    const here = `nodes/${node.node}/steps/${step.step}`;
    this.links.inside.href = `${here}/snapshot/`;
    this.links.fork.href = `${here}/fork/`;
    this.links.again.href = `${here}/reexecute/`;
    this.links.branches.href = `rollouts/new/?node=${node.node}&step=${step.step}`;
    // Whoever has a link has nothing but the link: what leads elsewhere on the site is not offered.
    this.ways.hidden = snapshot === null || this.shared;
    setText(this.text, snapshot ? factsOfSnapshot(snapshot) : inert(`No snapshot of this step: ${step.snapshot_error}`));
  }
}

function factsOfSnapshot({ holds, size_bytes, stored_bytes, changed, dropped }) {
  const facts = [`Snapshot of ${holds.join(" and ") || "the sandbox"}, ${bytes(size_bytes)}`];
  if (stored_bytes > 0) facts.push(`${bytes(stored_bytes)} new`);
  if (changed.length) facts.push(`${plural(changed.length, "change")}`);
  if (dropped.length) facts.push(`without ${inert(dropped.slice(0, 3).join(", "))}${dropped.length > 3 ? "…" : ""}`);
  return facts.join(" · ");
}

const VIEWS = {
  messages: MessagesView,
  call: CallHead,
  streamed: StreamedView,
  prose: ProseView,
  code: CodeView,
  cell: CellView,
  note: NoteView,
  snapshot: SnapshotView,
  compaction: CompactionView,
  error: StepError,
};
