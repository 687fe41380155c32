// The variable that the reader watches: chosen from those of the selected node, kept in the address, and gone to from
// change to change.

import { changedNames, changesOf } from "../live/changes.js";
import { setText } from "./dom.js";
import { inert } from "./format.js";

const MAX_NAMES = 500;
const NAME_CHARS = 40;

export class WatchedVariable {
  /** `onChoose()` hears that another was chosen; `onGo(direction)` that the reader wants its next change. */
  constructor(root, { onChoose, onGo }) {
    const at = (name) => root.querySelector(`[data-scrub="${name}"]`);
    this.group = at("watched");
    this.select = at("variable");
    this.place = at("variable-place");
    this.name = null;
    this.changes = [];
    this.known = "";
    this.select.addEventListener("change", () => {
      this.name = this.select.value || null;
      onChoose();
    });
    at("variable-back").addEventListener("click", () => onGo(-1));
    at("variable-forth").addEventListener("click", () => onGo(1));
  }

  /** What snapshots say of `node` in `tree`, the newest state: changes after the shown position can be gone to as well. */
  update(tree, node, position) {
    const key = `${node}:${tree.nodes.get(node)?.changed_seq}:${this.name}`;
    if (key !== this.known) {
      this.known = key;
      this.changes = this.name === null ? [] : changesOf(tree, this.name, node);
      this.#offer(changedNames(tree, node).slice(0, MAX_NAMES));
    }
    this.#say(position);
  }

  /** The change after (1) or before (-1) `position`: `{seq, node, step, deleted}` or undefined. */
  next(direction, position) {
    return direction > 0
      ? this.changes.find(({ seq }) => seq > position)
      : this.changes.findLast(({ seq }) => seq < position);
  }

  get seqs() {
    return this.changes.map(({ seq }) => seq);
  }

  #offer(names) {
    const offered = this.name === null || names.includes(this.name) ? names : [this.name, ...names];
    this.group.hidden = offered.length === 0;
    const now = [...this.select.options].slice(1).map(({ value }) => value);
    // A list that is open must not be made anew under the reader's hand.
    if (now.join("\n") !== offered.join("\n")) {
      while (this.select.options.length > 1) this.select.options[1].remove();
      for (const name of offered) this.select.add(new Option(shown(name), name));
    }
    this.select.value = this.name ?? "";
  }

  #say(position) {
    const passed = this.changes.filter(({ seq }) => seq <= position).length;
    const here = this.changes.find(({ seq }) => seq === position);
    const what = here ? ` · step ${here.step}${here.deleted ? ", deleted" : ""}` : "";
    const none = this.changes.length === 0 ? "no change in this node" : `${passed} of ${this.changes.length}${what}`;
    setText(this.place, this.name === null ? "" : none);
  }
}

const shown = (name) => {
  const text = inert(name);
  return text.length > NAME_CHARS ? `${text.slice(0, NAME_CHARS - 1)}…` : text;
};
