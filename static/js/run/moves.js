// Ways through the record that are not a click on what one sees: steps, errors, and the rows that an id names.

export class Moves {
  /** `page` gives `log`, `tree`, `selection`, `seq`, `treeView` and `select`. */
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

  /** To the next or previous error of the log, wherever it is. */
  error(direction) {
    const { log } = this.page;
    const { errors } = log.marks;
    const here = this.errorAt ?? (direction > 0 ? 0 : log.last + 1);
    const next = direction > 0 ? errors.find((seq) => seq > here) : errors.findLast((seq) => seq < here);
    if (next === undefined) return;
    this.errorAt = next;
    const event = log.event(next);
    const call = event.type === "lm.failed" ? log.live.calls.get(event.call) : undefined;
    // Somebody who looks at the past sees the moment of the error; at the end of the log everything is shown anyway.
    if (this.page.seq !== null) this.page.seq = next;
    const step = event.step ?? call?.step ?? null;
    this.page.select({ node: event.node ?? 0, step, call: call?.inCell ? event.call : null });
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
