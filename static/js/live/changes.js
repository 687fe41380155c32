// What snapshots say of variables: where one changed, and what each step did to it.

/**
 * Where variable `name` was added, changed or deleted, in the order of the log: `{seq, node, step, deleted}`. Of `node`
 * alone when one is given. A snapshot names the first fifty changes of its step.
 */
export function changesOf(tree, name, node = null) {
  const found = [];
  for (const each of tree.nodes.values()) {
    if (node !== null && each.node !== node) continue;
    for (const { step, snapshot } of each.steps) {
      if (snapshot === null) continue;
      const deleted = snapshot.changed.includes(`-${name}`);
      if (deleted || snapshot.changed.includes(name))
        found.push({ seq: snapshot.seq, node: each.node, step, deleted });
    }
  }
  return found.sort((a, b) => a.seq - b.seq);
}

/** Names of all variables that changed anywhere, in the order in which they first did. */
export function changedNames(tree, node = null) {
  const names = new Map();
  for (const each of tree.nodes.values()) {
    if (node !== null && each.node !== node) continue;
    for (const { snapshot } of each.steps)
      for (const change of snapshot?.changed ?? []) {
        const name = change.startsWith("-") ? change.slice(1) : change;
        names.set(name, Math.min(names.get(name) ?? Infinity, snapshot.seq));
      }
  }
  return [...names].sort((a, b) => a[1] - b[1]).map(([name]) => name);
}

/**
 * What the step did to variables, for the cell that ended it: a map of name to `added`, `changed` or `deleted`; null for
 * other cells, and while nothing is known. `node` and `step` are those of the state.
 */
export function changesAfter(node, step, cell) {
  if (step.snapshot === null || step.cells[step.cells.length - 1]?.cell !== cell.cell) return null;
  const before = namesBefore(node, step);
  const changes = new Map();
  for (const change of step.snapshot.changed) {
    if (change.startsWith("-")) changes.set(change.slice(1), "deleted");
    else changes.set(change, before !== null && !before.has(change) ? "added" : "changed");
  }
  return changes;
}

/** Names after the step before; null when the record does not have all of them. */
function namesBefore(node, step) {
  const steps = node.steps.slice(0, node.steps.indexOf(step));
  // A step without cells left everything as it was.
  const cell = steps.findLast((each) => each.cells.length > 0)?.cells.at(-1);
  if (cell === undefined) return new Set();
  if (cell.variables_omitted > 0 || cell.finished_at === null) return null;
  return new Set(cell.variables.map(({ name }) => name));
}
