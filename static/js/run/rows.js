// The state as rows: nodes, plain calls, and batches of calls folded into one row each.

const OPEN_BATCH_UP_TO = 12;
const SINGLE_CALLS_UP_TO = 3;

/**
 * The visible rows in order. `opened` maps a row's id to what the reader chose. A row is
 * `{id, kind, level, open, pos, size, node, subcalls, call, children}`; `open` is null where there is nothing to fold.
 */
export function visibleRows(tree, opened) {
  const rows = [];
  // An own stack: a tree may be as deep as the limits allow.
  const stack = [];
  push(
    stack,
    tree.roots.map((number) => nodeItem(tree, number)),
    0,
  );
  while (stack.length > 0) {
    const item = stack.pop();
    const below = item.below();
    item.open = below.length === 0 ? null : (opened.get(item.id) ?? item.openAtFirst(below));
    rows.push(item);
    if (item.open) push(stack, below, item.level + 1);
  }
  return rows;
}

function push(stack, items, level) {
  for (let n = items.length - 1; n >= 0; n--) {
    items[n].level = level;
    items[n].pos = n + 1;
    items[n].size = items.length;
    stack.push(items[n]);
  }
}

/** The rows directly under a node, in the order in which its code made the calls. */
export function rowsUnder(tree, node) {
  const items = [];
  let found = 0;
  for (const step of node.steps) {
    for (const cell of step.cells) {
      let singles = [];
      const flush = () => {
        if (singles.length > SINGLE_CALLS_UP_TO) items.push(callsItem(node, step, cell, singles));
        else for (const subcall of singles) items.push(callItem(node, step, cell, subcall, subcall.calls[0]));
        singles = [];
      };
      for (const subcall of cell.subcalls) {
        found += subcall.children.length;
        if (isSingleCall(subcall)) {
          singles.push(subcall);
          continue;
        }
        flush();
        const one = subcall.children.length + subcall.calls.length === 1 && !subcall.batch;
        if (one) for (const number of subcall.children) items.push(nodeItem(tree, number));
        else if (subcall.children.length + subcall.calls.length > 0)
          items.push(batchItem(tree, node, step, cell, subcall));
      }
      flush();
    }
  }
  // In a log with gaps a child may have lost the call that made it.
  if (found < node.children.length) {
    const shown = new Set(items.flatMap((item) => item.numbers ?? [item.node.node]));
    for (const number of node.children) if (!shown.has(number)) items.push(nodeItem(tree, number));
  }
  return items;
}

const isSingleCall = (subcall) => subcall.calls.length === 1 && subcall.children.length === 0 && !subcall.batch;
const yes = () => true;
const no = () => false;
const nothing = () => [];

export const idOfNode = (number) => `n${number}`;
export const idOfCall = (number) => `c${number}`;
const idOfPlace = (letter, node, step, cell, subcall) =>
  `${letter}${node.node}.${step.step}.${cell.cell}.${subcall.subcall}`;

function nodeItem(tree, number) {
  const node = tree.nodes.get(number);
  const kind = node.parent === null && node.node === 0 ? "root" : "rlm";
  return { id: idOfNode(number), kind, node, below: () => rowsUnder(tree, node), openAtFirst: yes };
}

function callItem(node, step, cell, subcall, call) {
  return { id: idOfCall(call.call), kind: "llm", node, step, cell, subcall, call, below: nothing, openAtFirst: no };
}

/** Calls that code made one after another, e.g. in a loop. */
function callsItem(node, step, cell, subcalls) {
  const below = () => subcalls.map((subcall) => callItem(node, step, cell, subcall, subcall.calls[0]));
  const id = idOfPlace("g", node, step, cell, subcalls[0]);
  return { id, kind: "calls", node, step, cell, subcalls, below, openAtFirst: no };
}

function batchItem(tree, node, step, cell, subcall) {
  const below = () => [
    ...subcall.children.map((number) => nodeItem(tree, number)),
    ...subcall.calls.map((call) => callItem(node, step, cell, subcall, call)),
  ];
  const id = idOfPlace("b", node, step, cell, subcall);
  const openAtFirst = () => subcall.children.length > 0 && subcall.children.length <= OPEN_BATCH_UP_TO;
  return { id, kind: "batch", node, step, cell, subcalls: [subcall], numbers: subcall.children, below, openAtFirst };
}

/** The rows that must be open for this one to be seen, from the root down. */
export function rowsAbove(tree, id) {
  const path = [];
  const number = Number(id.slice(1));
  const place = id.startsWith("c") ? tree.calls.get(number) : undefined;
  let current = tree.nodes.get(place ? place.node : number);
  if (place && current) {
    path.push(idOfNode(current.node));
    const group = rowsUnder(tree, current).find((row) => row.subcalls?.some((subcall) => isAt(row, subcall, place)));
    if (group) path.push(group.id);
  }
  while (current && current.parent !== null) {
    const parent = tree.nodes.get(current.parent);
    const subcall = findSubcall(parent, current);
    if (subcall?.batch) path.unshift(`b${parent.node}.${current.step}.${current.cell}.${current.subcall}`);
    path.unshift(idOfNode(parent.node));
    current = parent;
  }
  return path;
}

const isAt = (row, subcall, place) =>
  row.step.step === place.step && row.cell.cell === place.cell && subcall.subcall === place.subcall;

function findSubcall(parent, child) {
  const step = parent.steps.find((each) => each.step === child.step);
  const cell = step?.cells.find((each) => each.cell === child.cell);
  return cell?.subcalls.find((each) => each.subcall === child.subcall);
}
