"""Moving every content from one store to another.

It may be stopped at any time and begun again: what the target has is not copied again. Every content is checked when it
is read and read back from where it was written, so what is reported as copied is there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field

from runs.blobs.base import BlobCorrupt, BlobError, BlobMissing, BlobStore, BlobStoreUnavailable, Kept

THREADS = 8
MOST_PROBLEMS = 100


@dataclass(slots=True)
class Copied:
    """So far."""

    there: int = 0
    copied: int = 0
    copied_bytes: int = 0
    """As they lie in the source."""
    problems: int = 0
    first_problems: list[str] = field(default_factory=list)

    @property
    def seen(self) -> int:
        return self.there + self.copied + self.problems


def copy_contents(
    source: BlobStore, target: BlobStore, *, dry_run: bool, progress: Callable[[Copied], None] | None = None
) -> Copied:
    """Damaged contents are reported and left out. Raises `BlobStoreUnavailable` when one of the stores fails."""
    done = Copied()
    report = progress or (lambda copied: None)
    there = {each.sha256 for each in target.iterate()}
    with ThreadPoolExecutor(THREADS, thread_name_prefix="rlmweb-copying") as threads:
        running: dict[Future[None], Kept] = {}
        try:
            for content in _missing(source, there, done):
                if dry_run:
                    _note(done, content)
                else:
                    running[threads.submit(_copy, content.sha256, source, target)] = content
                    _settle(running, done, most=2 * THREADS)
                report(done)
            _settle(running, done, most=0)
        finally:
            for each in running:
                each.cancel()
    report(done)
    return done


def _missing(source: BlobStore, there: set[str], done: Copied) -> Iterator[Kept]:
    for content in source.iterate():
        if content.sha256 in there:
            done.there += 1
        else:
            yield content


def _settle(running: dict[Future[None], Kept], done: Copied, *, most: int) -> None:
    """Wait until no more than `most` are running, and count those that ended."""
    while len(running) > most:
        ended, _ = wait(running, return_when=FIRST_COMPLETED)
        for each in ended:
            content = running.pop(each)
            try:
                each.result()
            except BlobStoreUnavailable:
                raise
            except BlobMissing:
                continue  # collected meanwhile
            except BlobError as error:
                done.problems += 1
                if len(done.first_problems) < MOST_PROBLEMS:
                    done.first_problems.append(str(error))
            else:
                _note(done, content)


def _note(done: Copied, content: Kept) -> None:
    done.copied += 1
    done.copied_bytes += content.stored_bytes


def _copy(sha256: str, source: BlobStore, target: BlobStore) -> None:
    target.put_stream(source.chunks(sha256))
    try:
        target.verify(sha256)
    except BlobCorrupt:
        # A damaged one was there already and looked whole. It is known for damaged now and is written anew.
        target.put_stream(source.chunks(sha256))
        target.verify(sha256)
