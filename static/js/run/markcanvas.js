// The marks over the playback bar, and the legend that explains them. Each kind has a shape of its own, so that colour is
// never the only difference; the same path is drawn on the canvas and in the legend.

import { h, setText } from "./dom.js";
import { count } from "./format.js";

const SVG = "http://www.w3.org/2000/svg";
const LANE_PX = 10;
/** The thumb of a range stays inside its track by half its width. */
const INSET_PX = 8;

/**
 * `gap`: marks of a kind that are closer than this many pixels are drawn as one. `stroke`: a line, else filled. Lane 0 is
 * the upper one, for what a reader looks for; the last kind is drawn on top. `rare`: named only where there is one.
 */
const KINDS = [
  { name: "steps", words: "steps", path: "M0-4V4", lane: 1, gap: 3, colour: "--text-faint", stroke: 1 },
  { name: "subcalls", words: "sub-calls", path: "M2 0A2 2 0 1 1-2 0A2 2 0 1 1 2 0Z", lane: 1, gap: 4, colour: "--running" },
  { name: "snapshots", words: "snapshots", path: "M-3-3H3V3H-3Z", lane: 1, gap: 7, colour: "--waiting", stroke: 1.4 },
  { name: "changes", words: "changes of the variable", path: "M0-4.5 4 0 0 4.5-4 0Z", lane: 0, gap: 4, colour: "--accent" },
  { name: "limits", words: "limits", path: "M0-4 4.4 3.6H-4.4Z", lane: 0, gap: 3, colour: "--limited" },
  { name: "errors", words: "errors", path: "M-3-3 3 3M3-3-3 3", lane: 0, gap: 6, colour: "--failed", stroke: 2 },
  { name: "forks", words: "fork, inherited before it", path: "M-3 4V-4M-3 1 3-3.4", lane: 1, gap: 3, colour: "--accent", stroke: 1.6, rare: true },
  { name: "answers", words: "answer", path: "M-4 0-1 3.4 4.4-3.6", lane: 0, gap: 3, colour: "--finished", stroke: 2.2 },
];

export class MarkCanvas {
  /** `legend` is the list to fill. */
  constructor(canvas, legend) {
    this.canvas = canvas;
    this.legend = legend;
    this.drawn = "";
    this.paths = new Map(KINDS.map(({ name, path }) => [name, new Path2D(path)]));
    this.counts = new Map(KINDS.map((kind) => [kind.name, legendLine(legend, kind)]));
  }

  /** `marks`: lists of `seq` by kind; `version` is another whenever they are; `scale`: {from, to, valueOf(seq)}. */
  update(marks, version, scale) {
    const { canvas } = this;
    const width = canvas.clientWidth;
    const style = getComputedStyle(canvas);
    const key = [width, devicePixelRatio, version, scale.from, scale.to, style.getPropertyValue("--bg")].join();
    if (key === this.drawn || width === 0) return;
    this.drawn = key;
    const pen = this.#clean(width);
    if (marks.forks.length) this.#shade(pen, style, xOf(scale, marks.forks[0], width));
    for (const kind of KINDS) {
      if (kind.rare) this.#name(kind.name, marks[kind.name].length > 0);
      setText(this.counts.get(kind.name), count(marks[kind.name].length));
      this.#draw(pen, kind, marks[kind.name], style, (seq) => xOf(scale, seq, width));
    }
  }

  #clean(width) {
    const ratio = devicePixelRatio || 1;
    this.canvas.width = width * ratio;
    this.canvas.height = this.canvas.clientHeight * ratio;
    const pen = this.canvas.getContext("2d");
    pen.scale(ratio, ratio);
    return pen;
  }

  /** A kind that most records lack is in the legend of those that have it. */
  #name(name, there) {
    const line = this.counts.get(name).parentElement;
    if (!there) line.remove();
    else if (!line.isConnected) this.legend.append(line);
  }

  /** What lies before the fork is the parent's. */
  #shade(pen, style, end) {
    pen.globalAlpha = 0.16;
    pen.fillStyle = style.getPropertyValue("--text-faint");
    pen.fillRect(0, 0, end, 2 * LANE_PX);
    pen.globalAlpha = 1;
  }

  #draw(pen, { name, lane, gap, colour, stroke }, seqs, style, placeOf) {
    pen.fillStyle = pen.strokeStyle = style.getPropertyValue(colour);
    pen.lineWidth = stroke ?? 1;
    const path = this.paths.get(name);
    let last = -Infinity;
    for (const seq of seqs) {
      const x = placeOf(seq);
      if (Math.abs(x - last) < gap) continue;
      last = x;
      pen.save();
      pen.translate(x, lane * LANE_PX + LANE_PX / 2);
      if (stroke) pen.stroke(path);
      else pen.fill(path);
      pen.restore();
    }
  }
}

function xOf(scale, seq, width) {
  const share = (scale.valueOf(seq) - scale.from) / Math.max(1, scale.to - scale.from);
  return Math.round(INSET_PX + share * (width - 2 * INSET_PX)) + 0.5;
}

function legendLine(legend, { words, path, colour, stroke }) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "-6 -6 12 12");
  svg.setAttribute("aria-hidden", "true");
  const shape = document.createElementNS(SVG, "path");
  shape.setAttribute("d", path);
  shape.style.fill = stroke ? "none" : `var(${colour})`;
  if (stroke) shape.style.stroke = `var(${colour})`;
  shape.style.strokeWidth = stroke ?? 0;
  svg.append(shape);
  const number = h("span.mark-count", null, "0");
  legend.append(h("li", null, svg, h("span", null, words), number));
  return number;
}
