// Events to state, as runs/events/fold.py does it: the same events give the same state, which a test compares as JSON.
// Live pages, reload and playback all go through here. `fold` writes to `tree`; see `fork` for keeping an older state.

import {
  KEPT_FIRST_CHUNKS,
  MAX_NOTES,
  MAX_OUTPUT_CHUNKS,
  MAX_STREAMED_CHUNKS,
  append,
  newCall,
  newCell,
  newNode,
  newStep,
  newSubcall,
  newUsage,
  own,
  ownNode,
} from "./state.js";

/** The log has an event that this page was not written for: it must not be shown as if it were complete. */
export class UnknownEvent extends Error {}

export function fold(tree, event) {
  const take = CASES[event.type];
  if (take === undefined) throw new UnknownEvent(`event ${event.seq} has the unknown type ${event.type}`);
  tree.seq = event.seq;
  tree.at = event.at;
  const number = event.node ?? null;
  if (number !== null && event.type !== "node.started" && event.type !== "session.stop_requested") {
    nodeOf(tree, number).changed_seq = event.seq;
  }
  take(tree, event);
}

// Finding and making --------------------------------------------------------------------------------------------------

function nodeOf(tree, number) {
  let node = ownNode(tree, number);
  if (node === undefined) {
    node = newNode(tree, number);
    node.status = "unknown";
    node.started_at = tree.at;
    tree.nodes.set(number, node);
    append(tree, tree, "roots", number);
  }
  return node;
}

function ownLast(tree, holder, key, matches) {
  const list = holder[key];
  for (let i = list.length - 1; i >= 0; i--) {
    if (matches(list[i])) return own(tree, own(tree, holder, key), i);
  }
  return undefined;
}

function stepOf(tree, node, number) {
  let step = ownLast(tree, node, "steps", (each) => each.step === number);
  if (step === undefined) {
    step = newStep(tree, number);
    append(tree, node, "steps", step);
    count(tree, node, "steps", 1);
  }
  return step;
}

function cellIn(tree, step, number) {
  let cell = ownLast(tree, step, "cells", (each) => each.cell === number);
  if (cell === undefined) {
    cell = newCell(tree, number);
    append(tree, step, "cells", cell);
  }
  return cell;
}

function subcallIn(tree, cell, name, kind) {
  let subcall = ownLast(tree, cell, "subcalls", (each) => each.subcall === name);
  if (subcall === undefined) {
    subcall = newSubcall(tree, name, kind);
    append(tree, cell, "subcalls", subcall);
  }
  return subcall;
}

const stepIn = (tree, event) => stepOf(tree, nodeOf(tree, event.node), event.step);
const cellOf = (tree, event) => cellIn(tree, stepIn(tree, event), event.cell);

/** Where a call stands: kept by number, since its later events name only that. */
function placeOf(event) {
  const { node, step, cell = 0, subcall = "" } = event;
  return { node, step, cell, subcall, inCell: event.kind === "leaf" && cell > 0 };
}

function callOf(tree, number) {
  const place = tree.calls.get(number);
  if (place === undefined) return undefined;
  const step = stepOf(tree, nodeOf(tree, place.node), place.step);
  const holder = place.inCell ? subcallIn(tree, cellIn(tree, step, place.cell), place.subcall, "llm") : step;
  // Replies come roughly in the order of the calls, so look near where the last one was found.
  const list = holder.calls;
  const near = Math.min(place.position, list.length - 1);
  if (near >= 0 && list[near].call === number) return own(tree, own(tree, holder, "calls"), near);
  return ownLast(tree, holder, "calls", (each) => each.call === number);
}

function count(tree, node, what, amount) {
  own(tree, tree, "used")[what] += amount;
  own(tree, node, "own")[what] += amount;
  // A parent is always older than its child, so this ends.
  for (let above = node; above !== undefined; ) {
    own(tree, above, "subtree")[what] += amount;
    above = above.parent === null ? undefined : ownNode(tree, above.parent);
  }
}

function note(tree, level, message, event) {
  if (tree.notes.length >= MAX_NOTES) {
    tree.notes_omitted += 1;
    return;
  }
  const { node = null, step = null } = event;
  append(tree, tree, "notes", { seq: tree.seq, at: tree.at, level, message, node, step });
}

// Session and nodes ---------------------------------------------------------------------------------------------------

function sessionStarted(tree, event) {
  tree.status = "running";
  tree.started_at = tree.at;
  tree.title = event.title;
  tree.question = event.question;
  tree.context = event.context;
  tree.config = event.config ?? {};
  tree.labels = event.labels ?? [];
}

/** The past was another session's: what was used until here does not count as used by this one. */
function sessionForked(tree, event) {
  const inherited = tree.used;
  tree.used = newUsage();
  for (const number of tree.nodes.keys()) {
    const node = ownNode(tree, number);
    node.own = newUsage();
    node.subtree = newUsage();
  }
  for (const node of tree.nodes.values()) if (node.status === "running") count(tree, node, "nodes", 1);
  const { from_session, from_title = "", from_node = 0, from_step = 0, snapshot = "", differences = [] } = event;
  const place = { from_session, from_title, from_node, from_step, snapshot, differences };
  tree.forked = { seq: tree.seq, ...place, inherited };
}

function stopRequested(tree, event) {
  const node = event.node ?? 0;
  note(tree, "stop", event.by ?? "", { node });
  if (node === 0) tree.stopping = true;
  else nodeOf(tree, node).stopping = true;
}

function sessionFinished(tree, event) {
  tree.status = event.status;
  tree.answer = event.answer ?? null;
  tree.partial = event.partial ?? false;
  tree.error = event.error ?? null;
  tree.stopping = false;
  tree.finished_at = tree.at;
}

function nodeStarted(tree, event) {
  const { node: number, step = 0, cell = 0, subcall = "", index = 0 } = event;
  let node = ownNode(tree, number);
  if (node === undefined) {
    node = newNode(tree, number);
    tree.nodes.set(number, node);
    const parent = event.parent === null ? undefined : ownNode(tree, event.parent);
    append(tree, parent ?? tree, parent ? "children" : "roots", number);
    node.parent = parent ? event.parent : null;
  }
  node.changed_seq = tree.seq;
  node.status = "running";
  Object.assign(node, { depth: event.depth, prompt: event.prompt, model: event.model, step, cell, subcall, index });
  node.started_at = tree.at;
  count(tree, node, "nodes", 1);
  if (node.parent !== null && subcall) {
    const holder = cellIn(tree, stepOf(tree, ownNode(tree, node.parent), step), cell);
    append(tree, subcallIn(tree, holder, subcall, "rlm"), "children", number);
  }
}

function nodeSandbox(tree, event) {
  const node = nodeOf(tree, event.node);
  if (event.state === "lost") node.sandboxes_lost += 1;
  const before = node.sandbox;
  node.sandbox = {
    state: event.state,
    // The end and the loss of a sandbox do not repeat where it was.
    provider: event.provider || before?.provider || "",
    tier: event.tier || before?.tier || "",
    sandbox: event.sandbox ?? "",
    reason: event.reason ?? "",
  };
}

function nodeFinished(tree, event) {
  const node = nodeOf(tree, event.node);
  node.status = event.status;
  node.answer = event.answer ?? null;
  node.partial = event.partial ?? false;
  node.error = event.error ?? null;
  node.stopping = false;
  node.finished_at = tree.at;
  if (node.steps.length === 0) return;
  const step = own(tree, own(tree, node, "steps"), node.steps.length - 1);
  endRunning(tree, step, "calls", "abandoned");
  step.cells.forEach((_, i) => {
    const cell = own(tree, own(tree, step, "cells"), i);
    if (cell.status === "running") cell.status = "stopped";
    cell.subcalls.forEach((each, j) => {
      if (each.status !== "running") return;
      const subcall = own(tree, own(tree, cell, "subcalls"), j);
      subcall.status = "stopped";
      endRunning(tree, subcall, "calls", "abandoned");
    });
  });
}

function endRunning(tree, holder, key, status) {
  holder[key].forEach((each, i) => {
    if (each.status === "running") own(tree, own(tree, holder, key), i).status = status;
  });
}

// Steps ---------------------------------------------------------------------------------------------------------------

function stepStarted(tree, event) {
  const step = stepIn(tree, event);
  step.status = "running";
  step.attempt = event.attempt ?? 1;
  step.messages = event.messages ?? [];
}

function stepWaiting(tree, event) {
  const step = stepIn(tree, event);
  step.status = "waiting";
  step.waits_for = event.children;
}

function stepResumed(tree, event) {
  const step = stepIn(tree, event);
  step.status = "running";
  step.waits_for = 0;
}

function stepRetried(tree, event) {
  const step = stepIn(tree, event);
  step.status = "running";
  step.attempt = event.attempt;
  append(tree, step, "retries", { seq: tree.seq, attempt: event.attempt, reason: event.reason });
}

function stepFinished(tree, event) {
  const node = nodeOf(tree, event.node);
  const step = stepOf(tree, node, event.step);
  step.status = event.status;
  step.duration_ms = event.duration_ms ?? 0;
  step.error = event.error ?? null;
  step.waits_for = 0;
  step.finished_at = tree.at;
  if (event.status === "failed") count(tree, node, "errors", 1);
}

// LM calls ------------------------------------------------------------------------------------------------------------

function lmStarted(tree, event) {
  const step = stepIn(tree, event);
  const place = placeOf(event);
  const call = newCall(tree, event);
  const holder = place.inCell ? subcallIn(tree, cellIn(tree, step, place.cell), place.subcall, "llm") : step;
  place.position = append(tree, holder, "calls", call).length - 1;
  tree.calls.set(event.call, place);
}

function lmOutput(tree, event) {
  const call = callOf(tree, event.call);
  if (call !== undefined && call.status === "running" && call.streamed.length < MAX_STREAMED_CHUNKS) {
    append(tree, call, "streamed", event.text);
  }
}

function lmFinished(tree, event) {
  const node = nodeOf(tree, event.node);
  const { input_tokens = null, output_tokens = null, cost_micro_usd = null } = event;
  count(tree, node, "lm_calls", 1);
  count(tree, node, "input_tokens", input_tokens ?? 0);
  count(tree, node, "output_tokens", output_tokens ?? 0);
  count(tree, node, "cost_micro_usd", cost_micro_usd ?? 0);
  count(tree, node, "unpriced_calls", cost_micro_usd === null ? 1 : 0);
  const call = callOf(tree, event.call);
  if (call === undefined) return;
  call.status = "finished";
  call.reply = event.reply;
  call.streamed = [];
  call.finish_reason = event.finish_reason ?? "";
  call.attempts = event.attempts ?? 1;
  call.maybe_repeated = event.maybe_repeated ?? false;
  call.cached_tokens = event.cached_tokens ?? 0;
  Object.assign(call, { input_tokens, output_tokens, cost_micro_usd });
  call.cost_source = event.cost_source ?? "";
  call.duration_ms = event.duration_ms ?? 0;
  call.finished_at = tree.at;
}

function lmFailed(tree, event) {
  const node = nodeOf(tree, event.node);
  count(tree, node, "lm_calls", 1);
  // A call that was out when somebody stopped its node is no error of anybody.
  const abandoned = event.error.type === "Abandoned";
  if (!abandoned) {
    count(tree, node, "lm_calls_failed", 1);
    count(tree, node, "errors", 1);
  }
  const call = callOf(tree, event.call);
  if (call === undefined) return;
  call.status = abandoned ? "abandoned" : "failed";
  call.error = event.error;
  call.attempts = event.attempts ?? 1;
  call.duration_ms = event.duration_ms ?? 0;
  call.finished_at = tree.at;
}

// Cells and sub-calls -------------------------------------------------------------------------------------------------

function cellStarted(tree, event) {
  const cell = cellOf(tree, event);
  cell.code = event.code;
  cell.attempt = event.attempt ?? 1;
  cell.built_in = event.built_in ?? false;
  cell.status = "running";
  cell.started_at = tree.at;
  cell.finished_at = null;
  cell.output = [];
  cell.omitted_chunks = 0;
  cell.error = null;
}

function cellOutput(tree, event) {
  const cell = cellOf(tree, event);
  const { stream, text, late = false } = event;
  const output = append(tree, cell, "output", { seq: tree.seq, stream, text, late });
  if (output.length > MAX_OUTPUT_CHUNKS) {
    output.splice(KEPT_FIRST_CHUNKS, 1);
    cell.omitted_chunks += 1;
  }
}

function cellFinished(tree, event) {
  const node = nodeOf(tree, event.node);
  const cell = cellOf(tree, event);
  cell.status = event.status;
  cell.duration_ms = event.duration_ms ?? 0;
  cell.error = event.error ?? null;
  cell.finished_at = tree.at;
  cell.variables = event.variables ?? [];
  cell.variables_omitted = event.variables_omitted ?? 0;
  cell.output_bytes = event.output_bytes ?? 0;
  cell.dropped_bytes = event.dropped_bytes ?? 0;
  cell.answered = event.answered ?? false;
  count(tree, node, "output_bytes", cell.output_bytes);
  if (event.status !== "ok") count(tree, node, "errors", 1);
}

function subcallOpened(tree, event) {
  const subcall = subcallIn(tree, cellOf(tree, event), event.subcall, event.kind);
  subcall.kind = event.kind;
  subcall.count = event.count;
  subcall.batch = event.batch ?? false;
}

function subcallClosed(tree, event) {
  const subcall = subcallIn(tree, cellOf(tree, event), event.subcall, "llm");
  subcall.status = "finished";
  subcall.failed = event.failed ?? 0;
  subcall.finished_at = tree.at;
}

// Others --------------------------------------------------------------------------------------------------------------

function snapshotTaken(tree, event) {
  const { snapshot, holds = [], size_bytes = 0, stored_bytes = 0, dropped = [], changed = [] } = event;
  const step = stepIn(tree, event);
  step.snapshot = { seq: tree.seq, snapshot, holds, size_bytes, stored_bytes, dropped, changed };
  step.snapshot_error = "";
}

function snapshotFailed(tree, event) {
  stepIn(tree, event).snapshot_error = event.reason;
}

function limitHit(tree, event) {
  const { limit, used, allowed, node = null, step = null, partial = null } = event;
  append(tree, tree, "limits_hit", { seq: tree.seq, limit, used, allowed, node, step, partial });
  if (node !== null) nodeOf(tree, node).limit = limit;
}

function compaction(tree, event) {
  const { summary, before_tokens = 0, after_tokens = 0 } = event;
  stepIn(tree, event).compaction = { summary, before_tokens, after_tokens };
}

function log(tree, event) {
  note(tree, event.level, event.message, event);
  if (event.level !== "error") return;
  if ((event.node ?? null) !== null) count(tree, nodeOf(tree, event.node), "errors", 1);
  else own(tree, tree, "used").errors += 1;
}

/** What a link does not show: it only keeps the count. */
function withheld() {}

function gap(tree, event) {
  note(tree, "gap", event.reason, event);
}

const CASES = {
  "session.started": sessionStarted,
  "session.forked": sessionForked,
  "session.stop_requested": stopRequested,
  "session.finished": sessionFinished,
  "node.started": nodeStarted,
  "node.sandbox": nodeSandbox,
  "node.finished": nodeFinished,
  "step.started": stepStarted,
  "step.waiting": stepWaiting,
  "step.resumed": stepResumed,
  "step.retried": stepRetried,
  "step.finished": stepFinished,
  "lm.started": lmStarted,
  "lm.output": lmOutput,
  "lm.finished": lmFinished,
  "lm.failed": lmFailed,
  "cell.started": cellStarted,
  "cell.output": cellOutput,
  "cell.finished": cellFinished,
  "subcall.opened": subcallOpened,
  "subcall.closed": subcallClosed,
  "snapshot.taken": snapshotTaken,
  "snapshot.failed": snapshotFailed,
  "limit.hit": limitHit,
  compaction,
  log,
  gap,
  withheld,
};
