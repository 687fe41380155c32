// The keyboard. Keys do nothing while somebody types into a field, nor with a modifier: those belong to the browser.

/** `actions`: a function by key. */
export function listenToKeys(actions) {
  document.addEventListener("keydown", (event) => {
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    if (event.target.closest?.("input:not([type=range]), textarea, select, [contenteditable], dialog")) return;
    // Space presses the button that has the focus.
    if (event.key === " " && event.target.closest?.("button, a, summary")) return;
    const action = actions[event.key];
    if (action === undefined) return;
    event.preventDefault();
    action();
  });
}
