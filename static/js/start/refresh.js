// Elements with `data-refresh-ms` fetch themselves again (hx-get, hx-trigger="refresh") while the page is visible.
// They are looked up at each tick, since a swap replaces them, and the new one may ask for another pace or for none.

const TICK_MS = 250;
const dueAt = new Map();

function refresh() {
  if (document.hidden) return;
  const now = performance.now();
  const present = document.querySelectorAll("[data-refresh-ms]");
  const ids = new Set([...present].map((element) => element.id));
  for (const id of dueAt.keys()) if (!ids.has(id)) dueAt.delete(id);
  for (const element of present) {
    if (!dueAt.has(element.id)) dueAt.set(element.id, now + Number(element.dataset.refreshMs));
    if (now < dueAt.get(element.id) || isInUse(element)) continue;
    dueAt.set(element.id, now + Number(element.dataset.refreshMs));
    element.dispatchEvent(new CustomEvent("refresh"));
  }
}

// Text that is being selected must not be replaced under the pointer.
function isInUse(element) {
  const selection = document.getSelection();
  return selection !== null && !selection.isCollapsed && element.contains(selection.anchorNode);
}

document.addEventListener("visibilitychange", () => {
  if (!document.hidden) dueAt.clear();
});
setInterval(refresh, TICK_MS);
