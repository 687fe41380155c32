"""Deleting from S3 beside others who may put the same content at this moment.

Who deletes: announce, look how old the contents are, delete the old ones, take the announcement back. Who puts: write,
then look for announcements. S3 answers with what was written last, so either the one sees that the content is young, or
the other sees the announcement, waits for its end and looks whether the content is still there.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING, Any

from runs.blobs.base import BlobMissing, BlobStoreUnavailable
from runs.blobs.s3errors import told

if TYPE_CHECKING:
    from runs.blobs.s3 import Bucket

BATCH = 1_000  # the most that S3 deletes at once
LOOKING_THREADS = 8
ANNOUNCED_S = 60
"""A batch that has not got this far is given up."""
FORGOTTEN_AFTER_S = 600
"""An announcement that is older was made by a process that died."""
LOOK_AGAIN_S = 0.2


def delete_announced(
    client: Any, bucket: Bucket, names: Mapping[str, str], unless_newer_than: datetime | None
) -> set[str]:
    """Delete the objects of these keys, and return the names of those that were there."""
    keys = iter(names)
    deleted: set[str] = set()
    while batch := list(islice(keys, BATCH)):
        deleted.update(names[key] for key in _delete_batch(client, bucket, batch, unless_newer_than))
    return deleted


def wait_for_deletions(client: Any, bucket: Bucket) -> bool:
    """Is somebody deleting? Returns when nobody is any more."""
    seen = False
    deadline_s = time.monotonic() + FORGOTTEN_AFTER_S
    while _announced(client, bucket) and time.monotonic() < deadline_s:
        seen = True
        time.sleep(LOOK_AGAIN_S)
    return seen


def _delete_batch(client: Any, bucket: Bucket, keys: Sequence[str], unless_newer_than: datetime | None) -> list[str]:
    announcement = f"{_folder(bucket)}{uuid.uuid4().hex}"
    started_s = time.monotonic()
    with told(bucket.url):
        client.put_object(Bucket=bucket.name, Key=announcement, Body=b"")
        try:
            with ThreadPoolExecutor(LOOKING_THREADS, thread_name_prefix="rlmweb-deleting") as threads:
                old = list(threads.map(lambda key: _is_old(client, bucket, key, unless_newer_than), keys))
            doomed = [key for key, is_old in zip(keys, old, strict=True) if is_old]
            if not doomed:
                return []
            if time.monotonic() - started_s > ANNOUNCED_S:
                raise BlobStoreUnavailable(f"{bucket.url} answers too slowly to delete from.", "Try again later.")
            answer = client.delete_objects(
                Bucket=bucket.name, Delete={"Objects": [{"Key": key} for key in doomed], "Quiet": True}
            )
            refused = {each["Key"] for each in answer.get("Errors", ())}
            return [key for key in doomed if key not in refused]
        finally:
            client.delete_object(Bucket=bucket.name, Key=announcement)


def _is_old(client: Any, bucket: Bucket, key: str, unless_newer_than: datetime | None) -> bool:
    try:
        with told(bucket.url, key):
            modified_at = client.head_object(Bucket=bucket.name, Key=key)["LastModified"]
    except BlobMissing:
        return False
    return unless_newer_than is None or modified_at <= unless_newer_than


def _announced(client: Any, bucket: Bucket) -> bool:
    since = datetime.now(UTC) - timedelta(seconds=FORGOTTEN_AFTER_S)
    with told(bucket.url):
        found = client.list_objects_v2(Bucket=bucket.name, Prefix=_folder(bucket)).get("Contents", ())
    return any(each["LastModified"] > since for each in found)


def _folder(bucket: Bucket) -> str:
    return f"{bucket.prefix}deleting/"
