// The state of a session, field by field what runs/events/tree.py describes.
//
// A state can be kept while a newer one is built from it: `fork` shares everything, and each of the two copies an object
// only when it first writes to it. That makes a checkpoint cost as little as the list of nodes, which is what lets the
// scrubber jump anywhere in a long run.

export const MAX_OUTPUT_CHUNKS = 1024;
export const KEPT_FIRST_CHUNKS = 512;
export const MAX_STREAMED_CHUNKS = 256;
export const MAX_NOTES = 1000;

const EPOCH = Symbol("epoch"); // JSON and Object.keys do not see it
let epochs = 0;

export function newTree() {
  return {
    seq: 0,
    at: 0,
    status: "new",
    stopping: false,
    title: "",
    question: "",
    context: {},
    config: {},
    labels: [],
    answer: null,
    partial: false,
    error: null,
    started_at: null,
    finished_at: null,
    used: newUsage(),
    forked: null,
    limits_hit: [],
    notes: [],
    notes_omitted: 0,
    roots: [],
    nodes: new Map(),
    // Where each call is. Calls never move, so all states of one log share this.
    calls: new Map(),
    [EPOCH]: ++epochs,
  };
}

/** A second state that starts out as this one; either may be folded on. */
export function fork(tree) {
  const copy = { ...tree, nodes: new Map(tree.nodes), [EPOCH]: ++epochs };
  tree[EPOCH] = ++epochs;
  return copy;
}

/** The value at `holder[key]`, safe to write to: a copy when an older state may still show it. */
export function own(tree, holder, key) {
  const value = holder[key];
  if (value[EPOCH] === tree[EPOCH]) return value;
  const copy = Array.isArray(value) ? value.slice() : { ...value };
  copy[EPOCH] = tree[EPOCH];
  holder[key] = copy;
  return copy;
}

/** The node, safe to write to, or undefined. */
export function ownNode(tree, number) {
  const node = tree.nodes.get(number);
  if (node === undefined || node[EPOCH] === tree[EPOCH]) return node;
  const copy = { ...node, [EPOCH]: tree[EPOCH] };
  tree.nodes.set(number, copy);
  return copy;
}

/** Append to the list at `holder[key]`; returns the list. */
export function append(tree, holder, key, value) {
  const list = own(tree, holder, key);
  list.push(value);
  return list;
}

/** As `runs.events.tree.to_plain`: for comparing states as JSON. */
export function toPlain(tree) {
  const { calls, ...plain } = tree;
  return { ...plain, nodes: [...tree.nodes.values()] };
}

export function newUsage() {
  return {
    nodes: 0,
    steps: 0,
    lm_calls: 0,
    lm_calls_failed: 0,
    input_tokens: 0,
    output_tokens: 0,
    cost_micro_usd: 0,
    unpriced_calls: 0,
    errors: 0,
    output_bytes: 0,
  };
}

export function newNode(tree, number) {
  return {
    node: number,
    seq: tree.seq,
    changed_seq: tree.seq,
    parent: null,
    depth: 0,
    prompt: "",
    model: "",
    step: 0,
    cell: 0,
    subcall: "",
    index: 0,
    started_at: 0,
    status: "running",
    stopping: false,
    limit: "",
    answer: null,
    partial: false,
    error: null,
    finished_at: null,
    sandbox: null,
    sandboxes_lost: 0,
    steps: [],
    children: [],
    own: newUsage(),
    subtree: newUsage(),
    [EPOCH]: tree[EPOCH],
  };
}

export function newStep(tree, number) {
  return {
    step: number,
    seq: tree.seq,
    started_at: tree.at,
    status: "running",
    attempt: 1,
    waits_for: 0,
    messages: [],
    calls: [],
    cells: [],
    retries: [],
    compaction: null,
    snapshot: null,
    snapshot_error: "",
    finished_at: null,
    duration_ms: 0,
    error: null,
    [EPOCH]: tree[EPOCH],
  };
}

export function newCell(tree, number) {
  return {
    cell: number,
    seq: tree.seq,
    code: "",
    attempt: 1,
    built_in: false,
    started_at: tree.at,
    status: "running",
    output: [],
    omitted_chunks: 0,
    subcalls: [],
    finished_at: null,
    duration_ms: 0,
    error: null,
    variables: [],
    variables_omitted: 0,
    output_bytes: 0,
    dropped_bytes: 0,
    answered: false,
    [EPOCH]: tree[EPOCH],
  };
}

export function newSubcall(tree, name, kind) {
  return {
    subcall: name,
    kind,
    count: 0,
    batch: false,
    seq: tree.seq,
    started_at: tree.at,
    status: "running",
    failed: 0,
    finished_at: null,
    calls: [],
    children: [],
    [EPOCH]: tree[EPOCH],
  };
}

export function newCall(tree, event) {
  return {
    call: event.call,
    kind: event.kind,
    model: event.model,
    index: event.index ?? 0,
    started_at: tree.at,
    status: "running",
    prompt: event.prompt ?? null,
    streamed: [],
    reply: null,
    finish_reason: "",
    input_tokens: null,
    output_tokens: null,
    cached_tokens: 0,
    cost_micro_usd: null,
    cost_source: "",
    attempts: 1,
    maybe_repeated: false,
    duration_ms: 0,
    finished_at: null,
    error: null,
    [EPOCH]: tree[EPOCH],
  };
}
