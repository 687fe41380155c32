"""A real Chromium on a session's page, and how long output takes to reach its DOM."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rlmweb.boot.stack import Stack
from runs.bench.suite import CannotMeasure

if TYPE_CHECKING:
    from playwright.sync_api import Page

CHROMIUM_FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
OUTPUT_CODE = """\
import time
time.sleep(2)
for number in range({prints}):
    print(f"<<{{time.time() * 1000:.0f}}>>", flush=True)
    time.sleep(0.05)
answer["content"] = "done"
answer["ready"] = True"""
"""Prints the time every 50 ms; sandbox, server and browser share one clock."""

_OBSERVE = """() => {
  window.rlmwebSeen = new Map();
  const look = (node) => {
    for (const [mark, at] of (node.textContent || "").matchAll(/<<(\\d{13})>>/g))
      if (!window.rlmwebSeen.has(at)) window.rlmwebSeen.set(at, Date.now());
  };
  new MutationObserver((changes) => {
    for (const change of changes) { change.addedNodes.forEach(look); look(change.target); }
  }).observe(document.body, {subtree: true, childList: true, characterData: true});
}"""


class Watcher:
    """One signed-in browser page."""

    def __init__(self, page: Page, address: str) -> None:
        self._page = page
        self._address = address

    def open(self, uuid: str) -> None:
        """The session's page, and from now on the time at which each printed mark appears in it."""
        self._page.goto(f"{self._address}/sessions/{uuid}/")
        self._page.evaluate(_OBSERVE)

    def delays_ms(self) -> list[float]:
        """From print to DOM, for each mark seen so far."""
        seen = self._page.evaluate("() => [...window.rlmwebSeen]")
        return [float(at) - float(printed) for printed, at in seen]


@contextmanager
def watched(stack: Stack) -> Iterator[Watcher]:
    """Raises `CannotMeasure` where there is no browser to watch with."""
    try:
        from playwright.sync_api import sync_playwright
    except ModuleNotFoundError:
        raise CannotMeasure("the package playwright is not installed (manage.py test installs it)") from None
    chromium = os.environ.get("RLMWEB_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    if not chromium:
        raise CannotMeasure("there is no Chromium (manage.py test installs one); set RLMWEB_CHROMIUM")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=list(CHROMIUM_FLAGS))
        try:
            page = browser.new_page()
            page.goto(f"{stack.address}/open/{stack.token}/")
            yield Watcher(page, stack.address)
        finally:
            browser.close()
