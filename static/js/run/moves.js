// Ways through the record that are not a click on what one sees: steps, errors, changes of a variable, and the rows that
// an id names.

export class Moves {
  /** `page` gives `log`, `tree`, `selection`, `seq`, `position`, `treeView`, `watched`, `select` and `moveTo`. */
  constructor(page) {
    this.page = page;
    this.errorAt = null;
  }

  /** To the next or previous step of the node, and past its last one to the next row. */
  step(direction) {
    const { tree, selection, treeView } = this.page;
    const node = tree.nodes.get(selection.node);
    const steps = node?.steps ?? [];
    const place = steps.findIndex((step) => step.step === selection.step);
    const next = place >= 0 ? steps[place + direction] : direction > 0 ? steps[0] : undefined;
    if (next !== undefined && selection.call === null)
      this.page.select({ node: node.node, step: next.step, call: null });
    else treeView.select(treeView.placeOf(this.page.selectedRow) + direction);
  }

  /** To the moment at which the next or previous step of the selected node ended; past the last to the end of the log. */
  stepEnd(direction) {
    const { log, position, selection } = this.page;
    const ends = log.marks.endsOf(selection.node);
    const end =
      direction > 0 ? ends.find(({ seq }) => seq > position) : ends.findLast(({ seq }) => seq < position);
    const { seq, step } = end ?? { seq: direction > 0 ? log.last : 1, step: null };
    this.page.moveTo(seq, { node: selection.node, step, call: null });
  }

  /** To the next or previous error of the log, wherever it is. */
  error(direction) {
    const { log } = this.page;
    const { errors } = log.marks;
    const here = this.page.seq ?? this.errorAt ?? (direction > 0 ? 0 : log.last + 1);
    const next = direction > 0 ? errors.find((seq) => seq > here) : errors.findLast((seq) => seq < here);
    if (next === undefined) return;
    this.errorAt = next;
    const event = log.event(next);
    const call = event.type === "lm.failed" ? log.live.calls.get(event.call) : undefined;
    const step = event.step ?? call?.step ?? null;
    const selection = { node: event.node ?? 0, step, call: call?.inCell ? event.call : null };
    // Somebody who looks at the past sees the moment of the error; at the end of the log everything is shown anyway.
    if (this.page.seq === null) this.page.select(selection);
    else this.page.moveTo(next, selection);
  }

  /** To the moment of the next or previous change of the watched variable. */
  change(direction) {
    const { watched, position } = this.page;
    const next = watched.next(direction, position);
    if (next !== undefined) this.page.moveTo(next.seq, { node: next.node, step: next.step, call: null });
  }

  /** To what the id of a row names: a node, a call, or a batch, which is shown by the step that made it. */
  row(id) {
    const number = Number(id.slice(1));
    if (id.startsWith("n")) {
      this.page.select({ node: number, step: null, call: null });
    } else if (id.startsWith("c")) {
      const place = this.page.log.live.calls.get(number);
      this.page.select({ node: place?.node ?? 0, step: place?.step ?? null, call: number });
    } else {
      const [node, step] = id.slice(1).split(".").map(Number);
      this.page.select({ node, step, call: null, row: id });
    }
  }
}
