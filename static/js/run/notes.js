// What the log says beside the run itself: limits that were hit, requests to stop, warnings, known gaps.

import { h, icon } from "./dom.js";
import { inert, plural } from "./format.js";

const SHOWN = 12;
const SHAPES = {
  info: "unknown",
  warning: "limited",
  error: "failed",
  gap: "limited",
  stop: "stopped",
  limit: "limited",
};

export class NotesView {
  constructor() {
    this.element = h("ul.notes", { hidden: true, "aria-label": "Notes" });
    this.key = "";
  }

  /** The notes of a node; the root's are also those of the whole session. */
  update(tree, { node }) {
    const mine = (each) => (each.node ?? 0) === node;
    const limits = tree.limits_hit.filter(mine).map(({ seq, limit, used, allowed }) => ({
      seq,
      level: "limit",
      message: `Limit ${limit} hit: ${used} used of ${allowed}`,
    }));
    const notes = [...limits, ...tree.notes.filter(mine)].sort((a, b) => a.seq - b.seq);
    const key = notes.map(({ seq, level }) => level + seq).join();
    if (key === this.key) return;
    this.key = key;
    const shown = notes.slice(-SHOWN).map(noteLine);
    const rest = notes.length - shown.length + (node === 0 ? tree.notes_omitted : 0);
    if (rest > 0) shown.unshift(h("li.muted", null, `${plural(rest, "earlier note")} in the download`));
    this.element.hidden = shown.length === 0;
    this.element.replaceChildren(...shown);
  }
}

function noteLine({ level, message }) {
  const shape = SHAPES[level] ?? "unknown";
  const words =
    level === "gap"
      ? `Missing here: ${message}`
      : level === "stop"
        ? `${message || "Somebody"} asked to stop`
        : message;
  return h("li", null, icon(shape, `status ${shape}`), h("bdi", null, inert(words)));
}
