// The width of the tree: dragged or moved by keys, and remembered in this browser.

const KEY = "rlmweb.treeWidth";
const LEAST = 20;
const MOST = 75;

export function makeSplitter(splitter, panes) {
  const set = (percent) => {
    const width = Math.min(MOST, Math.max(LEAST, percent));
    panes.style.setProperty("--tree-width", `${width}%`);
    splitter.setAttribute("aria-valuenow", Math.round(width));
    return width;
  };
  const keep = (percent) => localStorage.setItem(KEY, String(set(percent)));
  const kept = Number(localStorage.getItem(KEY));
  if (kept > 0) set(kept);
  splitter.addEventListener("pointerdown", (event) => {
    splitter.setPointerCapture(event.pointerId);
    event.preventDefault();
  });
  splitter.addEventListener("pointermove", (event) => {
    if (!splitter.hasPointerCapture(event.pointerId)) return;
    const { left, width } = panes.getBoundingClientRect();
    keep(((event.clientX - left) / width) * 100);
  });
  splitter.addEventListener("keydown", (event) => {
    const move = { ArrowLeft: -2, ArrowRight: 2 }[event.key];
    if (move === undefined) return;
    event.preventDefault();
    keep(Number(splitter.getAttribute("aria-valuenow")) + move);
  });
}
