"""`python -m sandboxes.local.service --socket PATH [--pool N] [--tier NAME]`: run the local sandbox service."""

from __future__ import annotations

import sys

if __name__ == "__main__":
    # asyncio loads TLS when it is there: 5 MB that a unix socket never uses.
    sys.modules.setdefault("ssl", None)  # type: ignore[arg-type]

import argparse
import asyncio
import fcntl
import logging
import os
import shutil
import signal
from pathlib import Path

from sandboxes.errors import SandboxError
from sandboxes.local.api import Api, Connection
from sandboxes.local.bubblewrap import Bubblewrap
from sandboxes.local.cgroups import find_groups
from sandboxes.local.interpreter import chosen_interpreter, write_runner
from sandboxes.local.keeper import Keeper
from sandboxes.local.landlock import Landlock
from sandboxes.local.processes import adopt_orphans
from sandboxes.local.selftest import test_tiers
from sandboxes.local.tiers import Setting, Tier, make_folder
from sandboxes.local.watch import Watch

log = logging.getLogger("rlmweb.sandbox")
DEFAULT_POOL = 2
EXIT_TAKEN = 3
EXIT_NO_TIER = 4
TIERS = (Bubblewrap, Landlock)
"""Strongest first."""


def parse_arguments(words: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m sandboxes.local.service", description=__doc__)
    parser.add_argument("--socket", required=True, type=Path, help="unix socket to serve on")
    parser.add_argument("--pool", type=int, default=DEFAULT_POOL, help="sandboxes kept waiting (default %(default)s)")
    parser.add_argument("--tier", default="", help="use this tier only, instead of the strongest that works")
    return parser.parse_args(words)


def lock_socket(path: Path) -> int | None:
    """Hold the right to serve on `path` for the life of the process; None when another process holds it."""
    make_folder(path.parent)
    os.chmod(path.parent, 0o700)
    descriptor = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    os.ftruncate(descriptor, 0)
    os.write(descriptor, str(os.getpid()).encode())
    return descriptor


async def choose_tiers(setting: Setting, wanted: str) -> tuple[dict[str, Tier], dict[str, str]]:
    """The tiers that passed the self-test, strongest first, and the reason against each. Raises `NoTier`."""
    tiers: list[Tier] = [tier(setting) for tier in TIERS if wanted in ("", tier.name)]
    reasons = await test_tiers(tiers, setting)
    passed = {tier.name: tier for tier in tiers if not reasons[tier.name]}
    if not passed:
        listed = "".join(f"\n  {name}: {reason}" for name, reason in reasons.items())
        known = ", ".join(tier.name for tier in TIERS)
        raise NoTier(f"no kind of isolation works on this machine (known: {known}); nothing is run without.{listed}")
    return passed, reasons


class NoTier(SandboxError):
    """No tier of isolation passed its self-test."""


async def serve(arguments: argparse.Namespace, folder: Path) -> None:
    adopt_orphans()
    interpreter = chosen_interpreter()
    setting = Setting(interpreter, write_runner(interpreter, folder), folder)
    passed, reasons = await choose_tiers(setting, arguments.tier)
    keeper = Keeper(passed, next(iter(passed)), folder, find_groups(), arguments.pool)
    api = Api(keeper, reasons)
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    arguments.socket.unlink(missing_ok=True)
    server = await loop.create_unix_server(lambda: Connection(api, keeper), str(arguments.socket))
    os.chmod(arguments.socket, 0o600)
    keeper.pool.open()
    watch = asyncio.create_task(Watch(keeper).run())
    log.info("serving on %s: tier %s, %s", arguments.socket, keeper.default, keeper.groups.name or "no control groups")
    for name, reason in reasons.items():
        if reason:
            log.info("tier %s is not used: %s", name, reason)
    try:
        await stop.wait()
    finally:
        server.close()
        watch.cancel()
        await keeper.close()
        arguments.socket.unlink(missing_ok=True)


def main(words: list[str] | None = None) -> int:
    arguments = parse_arguments(sys.argv[1:] if words is None else words)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    os.umask(0o077)
    lock = lock_socket(arguments.socket)
    if lock is None:
        print(f"another local sandbox service is serving on {arguments.socket}", file=sys.stderr)
        return EXIT_TAKEN
    folder = arguments.socket.with_suffix(".boxes")
    shutil.rmtree(folder, ignore_errors=True)  # left by a service that was killed
    make_folder(folder)
    try:
        asyncio.run(serve(arguments, folder))
    except SandboxError as error:
        print(f"the local sandbox service cannot run: {error}", file=sys.stderr)
        return EXIT_NO_TIER
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
