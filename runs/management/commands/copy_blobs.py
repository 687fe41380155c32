"""`manage.py copy_blobs`: all contents from one blob store to another, to move an installation."""

from __future__ import annotations

import time
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from runs.blobs import BlobStore, BlobStoreUnavailable, open_store
from runs.blobs.addresses import BadAddress, store_url
from runs.blobs.copying import Copied, copy_contents

USAGE = 2
PROGRESS_EVERY_S = 2.0


class Command(BaseCommand):
    help = (
        "Copy every content from one blob store to another and check each. Run it while the installation works, stop the "
        "installation, run it again for what came meanwhile, set RLMWEB_BLOB_STORE_URL, and start again."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--from", dest="source", default="", metavar="URL", help="default: the store in use")
        parser.add_argument(
            "--to", dest="target", required=True, metavar="URL", help="file:///folder or s3://bucket/prefix"
        )
        parser.add_argument("--dry-run", action="store_true", help="say what would be copied")

    def handle(self, *args: Any, **options: Any) -> None:
        source, target = self._store(options["source"] or store_url()), self._store(options["target"])
        if source.url == target.url:
            raise CommandError("Both are the same store.", returncode=USAGE)
        started_s = time.monotonic()
        try:
            if not options["dry_run"]:
                target.check()
            done = copy_contents(source, target, dry_run=options["dry_run"], progress=self._progress)
        except BlobStoreUnavailable as error:
            raise CommandError(f"{error} Run this again: what is copied stays copied.") from error
        self._say(done, dry_run=options["dry_run"], took_s=time.monotonic() - started_s)

    def _store(self, url: str) -> BlobStore:
        try:
            return open_store(url, cached=False)
        except BadAddress as error:
            raise CommandError(str(error), returncode=USAGE) from error

    _said_s = 0.0

    def _progress(self, done: Copied) -> None:
        if time.monotonic() - self._said_s < PROGRESS_EVERY_S:
            return
        self._said_s = time.monotonic()
        self.stderr.write(f"{done.seen:,} contents: {done.copied:,} copied ({_mb(done)}), {done.there:,} there before")

    def _say(self, done: Copied, *, dry_run: bool, took_s: float) -> None:
        verb = "would be copied" if dry_run else "copied and checked"
        self.stdout.write(
            f"{done.copied:,} contents ({_mb(done)}) {verb}, {done.there:,} there before, in {took_s:.1f} s"
        )
        for problem in done.first_problems:
            self.stderr.write(problem)
        if done.problems:
            raise CommandError(f"{done.problems:,} contents are damaged in the source and were not copied.")


def _mb(done: Copied) -> str:
    return f"{done.copied_bytes / 1e6:,.1f} MB"
