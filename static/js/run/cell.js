// A cell as it ran: its code, what it printed and which calls it made in the order in which it did, how it ended.

import { changesAfter } from "../live/changes.js";
import { KEPT_FIRST_CHUNKS } from "../live/state.js";
import { h, icon, reconcile, setClass, setIcon, setText } from "./dom.js";
import { STATUS_WORDS, bytes, duration, inert, plural, shapeOf } from "./format.js";
import { OutputView } from "./output.js";
import { SubcallsView } from "./subcalls.js";
import { TextView } from "./text.js";

const PARTS_AT_FIRST = 40;
const MORE_PARTS = 100;

export class CellView {
  constructor(context) {
    this.context = context;
    this.views = new Map();
    this.limit = PARTS_AT_FIRST;
    this.status = icon("running");
    this.label = h("span.cell-label");
    this.facts = h("span.muted");
    this.code = new TextView(context.blobs, { python: true, className: "code" });
    this.parts = h("div.cell-parts");
    this.more = h("button.button.link", { type: "button", hidden: true });
    this.more.addEventListener("click", () => {
      this.limit += MORE_PARTS;
      this.update(this.item);
    });
    this.error = new ErrorView(context.blobs);
    this.variables = new VariablesView(context);
    this.note = h("p.cell-note", { hidden: true });
    this.element = h(
      "section.cell",
      null,
      h("header.cell-head", null, this.status, this.label, this.facts),
      this.code.element,
      this.parts,
      this.more,
      this.error.element,
      this.note,
      this.variables.element,
    );
  }

  update(item) {
    this.item = item;
    const { tree, node, step, cell } = item;
    const shape = shapeOf(cell.status);
    setClass(this.element, `cell ${shape}`);
    setIcon(this.status, shape);
    this.status.setAttribute("class", `icon status ${shape}`);
    setText(this.label, `${cell.built_in ? "Built-in cell" : "Cell"} ${step.step}.${cell.cell}`);
    setText(this.facts, factsOfCell(cell));
    this.code.element.hidden = cell.code === ""; // its start is not in the log
    this.code.update(cell.code);
    const parts = partsOf(cell);
    const shown = parts.slice(0, this.limit).map((part) => ({ ...part, tree }));
    reconcile(this.parts, this.views, shown, (part) => this.#view(part));
    this.more.hidden = parts.length <= this.limit;
    setText(this.more, `Show ${plural(parts.length - shown.length, "more part")} of the output`);
    this.error.update(cell.error);
    this.#note(cell);
    this.variables.update(node, step, cell);
  }

  #view(part) {
    return part.kind === "output" ? new OutputView(this.context.blobs) : new SubcallsView(this.context);
  }

  #note(cell) {
    const said = [];
    if (cell.attempt > 1)
      said.push(
        `Run again (attempt ${cell.attempt}) after its sandbox was lost; its calls were answered from the record.`,
      );
    if (cell.dropped_bytes > 0) said.push(`${bytes(cell.dropped_bytes)} of output were over the limit and dropped.`);
    if (cell.answered) said.push("Gave the answer.");
    this.note.hidden = said.length === 0;
    setText(this.note, said.join(" "));
  }
}

function factsOfCell(cell) {
  const facts = [STATUS_WORDS[cell.status] ?? cell.status];
  if (cell.finished_at !== null) facts.push(duration(cell.duration_ms || cell.finished_at - cell.started_at));
  if (cell.output_bytes > 0) facts.push(bytes(cell.output_bytes));
  return facts.join(" · ");
}

/** Output and calls in the order in which they came; single calls one after another count as one part. */
function partsOf(cell) {
  const parts = [];
  const calls = [...cell.subcalls];
  let run = null;
  const takeCallsBefore = (seq) => {
    while (calls.length && calls[0].seq < seq) {
      const subcall = calls.shift();
      const last = parts[parts.length - 1];
      const single = !subcall.batch && subcall.children.length === 0;
      if (single && last?.single && last.subcalls[0].kind === subcall.kind) last.subcalls.push(subcall);
      else parts.push({ key: `s${subcall.subcall}`, kind: "subcalls", subcalls: [subcall], single });
      run = null;
    }
  };
  for (const chunk of cell.output) {
    takeCallsBefore(chunk.seq);
    if (run === null) {
      run = { key: `o${chunk.seq}`, kind: "output", chunks: [], omitted: 0 };
      parts.push(run);
    }
    run.chunks.push(chunk);
  }
  takeCallsBefore(Infinity);
  if (cell.omitted_chunks > 0) {
    const last = parts.findLast((part) => part.kind === "output");
    last.omitted = cell.omitted_chunks;
    last.resumesAt = cell.output[KEPT_FIRST_CHUNKS].seq;
  }
  return parts;
}

/** `update(error)`: an `ErrorInfo` or null. */
export class ErrorView {
  constructor(blobs) {
    this.title = h("p.error-title");
    this.detail = new TextView(blobs, { className: "traceback" });
    this.element = h("div.error-box", { hidden: true }, this.title, this.detail.element);
  }

  update(error) {
    this.element.hidden = error === null;
    if (error === null) return;
    setText(this.title, inert(`${error.type}: ${error.message}`));
    this.detail.element.hidden = !error.detail;
    if (error.detail) this.detail.update(error.detail);
  }
}

const CHANGE_WORDS = { added: "new", changed: "changed", deleted: "deleted" };

class VariablesView {
  constructor({ isOpen }) {
    this.summary = h("summary");
    this.rows = h("tbody");
    const head = h("tr", null, ...["name", "type", "size", "value"].map((name) => h("th", { scope: "col" }, name)));
    this.element = h(
      "details.variables",
      { hidden: true },
      this.summary,
      h("table", null, h("thead", null, head), this.rows),
    );
    this.element.open = isOpen("variables");
    this.shown = [];
  }

  update(node, step, cell) {
    const { variables } = cell;
    // A list of the state is replaced when it changes, so this draws each state once.
    const last = step.cells[step.cells.length - 1];
    const state = [variables, step.snapshot, last];
    if (state.every((part, n) => part === this.shown[n])) return;
    this.shown = state;
    const changes = changesAfter(node, step, cell);
    const deleted = [...(changes ?? [])].filter(([, change]) => change === "deleted").map(([name]) => name);
    this.element.hidden = variables.length + deleted.length === 0;
    const omitted = cell.variables_omitted ? ` and ${cell.variables_omitted} more` : "";
    setText(this.summary, `${plural(variables.length, "variable")}${omitted} after this cell${changeCounts(changes)}`);
    const rows = variables.map(({ name, type, size = "", preview = "" }) =>
      this.#row(name, [type, size, preview], changes?.get(name)),
    );
    this.rows.replaceChildren(...rows, ...deleted.map((name) => this.#row(name, ["", "", ""], "deleted")));
  }

  #row(name, others, change) {
    const mark = change ? h("span.change-mark", null, CHANGE_WORDS[change]) : null;
    const cells = others.map((text) => h("td", { dir: "auto" }, inert(text)));
    const first = h("td", { dir: "auto" }, h("bdi", null, inert(name)), mark);
    return h(`tr${change ? `.change-${change}` : ""}`, null, first, ...cells);
  }
}

function changeCounts(changes) {
  if (changes === null || changes.size === 0) return "";
  const counts = Object.keys(CHANGE_WORDS).map((change) => [
    [...changes.values()].filter((each) => each === change).length,
    CHANGE_WORDS[change],
  ]);
  const said = counts.filter(([n]) => n > 0).map(([n, word]) => `${n} ${word}`);
  return `: ${said.join(", ")} in this step`;
}
