// What a row of the tree says: computed only for the rows on the screen.

import { firstWords, headOf, plural, shapeOf } from "./format.js";

/** `{shape, status, kind, words, model, start, end, cost, unpriced, tokens, errors}`; `end` is null while it runs. */
export function factsOf(tree, row) {
  if (row.kind === "llm") return factsOfCall(row.call);
  if (row.kind === "root" || row.kind === "rlm") return factsOfNode(row.node);
  return factsOfCalls(tree, row);
}

function factsOfNode(node) {
  const { subtree } = node;
  const step = node.steps[node.steps.length - 1];
  const waiting = node.status === "running" && step?.status === "waiting";
  return {
    shape: waiting ? "waiting" : shapeOf(node.status),
    status: waiting ? "waiting" : node.status,
    stopping: node.stopping,
    words: firstWords(node.prompt) || "(no prompt)",
    model: node.model,
    start: node.started_at,
    end: node.finished_at,
    cost: subtree.cost_micro_usd,
    unpriced: subtree.unpriced_calls,
    tokens: subtree.input_tokens + subtree.output_tokens,
    errors: subtree.errors,
  };
}

export function factsOfCall(call) {
  return {
    shape: shapeOf(call.status),
    status: call.status,
    words: firstWords(call.prompt) || firstWords(call.reply) || "(prompt not recorded)",
    model: call.model,
    start: call.started_at,
    end: call.finished_at,
    cost: call.cost_micro_usd ?? 0,
    unpriced: call.status === "finished" && call.cost_micro_usd === null ? 1 : 0,
    tokens: (call.input_tokens ?? 0) + (call.output_tokens ?? 0),
    errors: call.status === "failed" ? 1 : 0,
  };
}

function factsOfCalls(tree, row) {
  const sum = { start: Infinity, end: 0, cost: 0, unpriced: 0, tokens: 0, errors: 0, model: "" };
  let running = 0;
  let answered = 0;
  let expected = 0;
  let first = "";
  let failed = false;
  const take = (facts) => {
    sum.start = Math.min(sum.start, facts.start);
    sum.end = Math.max(sum.end, facts.end ?? 0);
    for (const key of ["cost", "unpriced", "tokens", "errors"]) sum[key] += facts[key];
    sum.model ||= facts.model;
    first ||= facts.words;
    failed ||= facts.status === "failed";
    if (facts.end === null && (facts.status === "running" || facts.status === "waiting")) running += 1;
    else answered += 1;
  };
  for (const subcall of row.subcalls) {
    expected += Math.max(subcall.count, subcall.children.length + subcall.calls.length);
    for (const number of subcall.children) take(factsOfNode(tree.nodes.get(number)));
    for (const call of subcall.calls) take(factsOfCall(call));
  }
  const open = row.subcalls.some((subcall) => subcall.status === "running");
  const stopped = row.subcalls.some((subcall) => subcall.status === "stopped");
  const status = open || running > 0 ? "running" : failed ? "failed" : stopped ? "stopped" : "finished";
  const what = row.subcalls[0].children.length > 0 ? "nodes" : "calls";
  const done = answered < expected ? `${answered} of ${expected} ${what}` : plural(expected, what.slice(0, -1));
  return { ...sum, shape: status, status, words: `${done} · ${first}`, end: status === "running" ? null : sum.end };
}

/** Does anything that is visible of the row contain this? For the search. */
export function rowContains(row, needle) {
  const has = (text) => headOf(text).toLowerCase().includes(needle);
  if (row.kind === "llm") return has(row.call.prompt) || has(row.call.reply);
  if (row.kind === "batch" || row.kind === "calls") {
    return row.subcalls.some((subcall) => subcall.calls.some((call) => has(call.prompt) || has(call.reply)));
  }
  const { node } = row;
  if (has(node.prompt) || has(node.answer) || has(node.error?.message)) return true;
  return node.steps.some(
    (step) =>
      step.calls.some((call) => has(call.reply)) ||
      step.cells.some(
        (cell) => has(cell.code) || has(cell.error?.message) || cell.output.some((chunk) => has(chunk.text)),
      ),
  );
}
