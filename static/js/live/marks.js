// Where a reader wants to go: `seq`s of the events of a kind, and where each node's steps ended. Taken from events as they
// come, so that the newest costs no more than the first.

export class Marks {
  constructor() {
    this.steps = [];
    this.subcalls = [];
    this.snapshots = [];
    this.errors = [];
    this.limits = [];
    this.answers = [];
    this.forks = [];
    this.ends = new Map();
  }

  add(event) {
    switch (event.type) {
      case "step.started":
        this.steps.push(event.seq);
        break;
      case "step.finished":
        this.#end(event);
        if (event.status === "failed") this.errors.push(event.seq);
        break;
      case "subcall.opened":
        this.subcalls.push(event.seq);
        break;
      case "snapshot.taken":
        this.snapshots.push(event.seq);
        break;
      case "session.forked":
        this.forks.push(event.seq);
        break;
      case "limit.hit":
        this.limits.push(event.seq);
        break;
      case "session.finished":
        (event.status === "failed" ? this.errors : this.answers).push(event.seq);
        break;
      default:
        if (isError(event)) this.errors.push(event.seq);
    }
  }

  /** The ends of the node's steps in order, as `{seq, step}`. */
  endsOf(node) {
    return this.ends.get(node) ?? [];
  }

  #end({ node, step, seq }) {
    const ends = this.ends.get(node);
    if (ends === undefined) this.ends.set(node, [{ seq, step }]);
    else ends.push({ seq, step });
  }
}

function isError(event) {
  switch (event.type) {
    case "cell.finished":
      return event.status !== "ok";
    case "lm.failed":
      // A call that was out when somebody stopped its node is no error of anybody.
      return event.error.type !== "Abandoned";
    case "node.finished":
      return event.status === "failed";
    case "log":
      return event.level === "error";
    default:
      return false;
  }
}
