"""Every content that a manifest names has been sent, also where writers ended halfway and parts of theirs were under way."""

from __future__ import annotations

from pathlib import Path

import pytest

from sandboxes.manifest import Manifest, decode_descriptor
from tests.sandboxes.runner.host import RunnerHost, runner
from tests.sandboxes.runner.snapshothost import Store

STEPS = 12
PREPARE = """
import os, random
chance = random.Random(7)
class Ends:
    def __reduce__(self): os._exit(3)
class Raises:
    def __reduce__(self): raise MemoryError
class EndsOnce:
    def __reduce__(self):
        try: os.mkdir('.ended')
        except FileExistsError: return (EndsOnce, ())
        os._exit(3)
"""
STEP = """
number = {number}
a_large = chance.randbytes(9_000_000 if number % 4 == 0 else 70_000)
keep = globals().get('keep', []) + [chance.randbytes(300_000), a_large[:50_000]]
shared = {{'keep': keep, 'number': number}}
open(f'file{{number % 3}}.bin', 'wb').write(chance.randbytes(200_000))
if number % 3 == 0: z_bad = [keep, (Ends, Raises, EndsOnce)[number // 3 % 3]()]
if number % 3 == 1 and 'z_bad' in globals(): del z_bad
"""


@pytest.fixture
def store() -> Store:
    return Store()


def unsent(store: Store, manifest: Manifest) -> set[str]:
    named = set(manifest.blobs())
    for piece in manifest.pieces:
        named |= set(decode_descriptor(store.contents[piece.blob]).blobs()) if piece.blob in store.contents else set()
    return named - set(store.contents)


@pytest.mark.parametrize("at_once", [1, 3])
def test_all_that_manifests_name_was_sent(host: RunnerHost, store: Store, at_once: int, tmp_path: Path) -> None:
    """`at_once` snapshots are asked for before the first one is waited for."""
    assert host.run(PREPARE)["status"] == "ok"
    waiting: list[str] = []
    done = 0
    for number in range(STEPS):
        assert host.run(STEP.format(number=number))["status"] == "ok"
        store.take(host, f"s{number}")
        waiting.append(f"s{number}")
        if len(waiting) == at_once:
            for id in waiting:
                if not store.collect(host, id).get("error"):
                    done += 1
                    assert unsent(store, store.manifest(id)) == set(), id
            waiting.clear()
    assert done == STEPS
    other = tmp_path / "other"
    other.mkdir()
    wanted = host.run("print(number, len(keep), sum(map(sum, keep)), keep is shared['keep'])")
    with runner(other) as second:
        store.restore(second, f"s{STEPS - 1}")
        shown = store.run(second, "print(number, len(keep), sum(map(sum, keep)), keep is shared['keep'])")
        assert shown["stdout"] == host.output(wanted["cell"]) != ""
