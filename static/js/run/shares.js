// How many branches from each step of a node ended right, as rollouts found: a small plot at the top of the node. Where it
// falls is where the run went wrong.

import { h } from "./dom.js";

const SVG = "http://www.w3.org/2000/svg";
const STEP_PX = 36;
const HEIGHT_PX = 56;
const EDGE_PX = 6;
const AGAIN_MS = 5000;
const NONE = [];

/** The shares by node, asked for once, and again while a rollout runs. */
export class Shares {
  /** `address` is empty for a session without rollouts. */
  constructor(address, onChange) {
    this.address = address;
    this.onChange = onChange;
    this.nodes = {};
    if (address) this.#read();
  }

  /** Of a node, by step; the same list until there is another. */
  of(node) {
    return this.nodes[node] ?? NONE;
  }

  async #read() {
    try {
      const response = await fetch(this.address, { credentials: "same-origin" });
      if (!response.ok) throw new Error(`${response.status} ${response.statusText}`);
      const { nodes, running } = await response.json();
      this.nodes = nodes;
      this.onChange();
      if (running) setTimeout(() => this.#read(), AGAIN_MS);
    } catch (error) {
      // The page shows the session without them.
      console.info("rollouts could not be read:", error);
    }
  }
}

export class SharesView {
  constructor() {
    this.plot = document.createElementNS(SVG, "svg");
    this.plot.setAttribute("class", "shares-plot");
    this.element = h(
      "figure.shares",
      { hidden: true },
      h("figcaption.muted", null, "Branches that end right, by step"),
      this.plot,
    );
    this.shown = null;
  }

  /** `shares` is the same list until there is another. */
  update(shares) {
    if (shares === this.shown) return;
    this.shown = shares;
    this.element.hidden = shares.length === 0;
    const width = shares.length * STEP_PX;
    for (const [name, value] of [
      ["viewBox", `0 0 ${width} ${HEIGHT_PX + 14}`],
      ["width", width],
      ["height", HEIGHT_PX + 14],
      ["role", "group"],
      ["aria-label", "Share of right branches by step"],
    ])
      this.plot.setAttribute(name, value);
    const points = shares.map((share, n) => ({ ...share, x: (n + 0.5) * STEP_PX }));
    const known = points.filter(({ share }) => share !== null);
    this.plot.replaceChildren(
      ...known.slice(1).map((point, n) => lineBetween(known[n], point)),
      ...points.map((point) => linkOf(point)),
    );
  }
}

const yOf = (share) => EDGE_PX + (1 - share) * (HEIGHT_PX - 2 * EDGE_PX);

function svg(tag, attributes, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

function lineBetween(before, after) {
  const drop = after.drop && after.rollout === before.rollout;
  const ends = { x1: before.x, y1: yOf(before.share), x2: after.x, y2: yOf(after.share) };
  return svg("line", { class: drop ? "share drop" : "share", ...ends });
}

function linkOf({ rollout, step, share, right, scored, branches, low, high, drop, x }) {
  const where = step === 0 ? "the start" : `step ${step}`;
  const found = share === null ? "none scored yet" : `${right} of ${scored} end right`;
  const left = scored < branches ? `, ${branches - scored} without a score` : "";
  const words = `From ${where}: ${found}${left}${drop ? "; the largest drop is here" : ""}`;
  const link = svg("a", { href: `/rollouts/${rollout}/#step-${step}`, "aria-label": words });
  link.append(svg("title", {}), svg("rect", { x: x - STEP_PX / 2, y: 0, width: STEP_PX, height: HEIGHT_PX + 14 }));
  link.firstChild.textContent = words;
  if (share !== null) {
    link.append(
      svg("line", { class: "interval", x1: x, x2: x, y1: yOf(high), y2: yOf(low) }),
      svg("circle", { class: drop ? "point drop" : "point", cx: x, cy: yOf(share), r: 4 }),
    );
  }
  const label = svg("text", { class: "axis", x, y: HEIGHT_PX + 10, "text-anchor": "middle" });
  label.textContent = step === 0 ? "start" : step;
  link.append(label);
  return link;
}
