"""Reading one object as a stream that survives a lost connection."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from runs.blobs.base import BlobStoreUnavailable
from runs.blobs.s3errors import told

if TYPE_CHECKING:
    from runs.blobs.s3 import Bucket

MOST_RESUMED = 3


class S3Reader(io.RawIOBase):
    """The bytes of an object. When the connection breaks it goes on from there with a range, a bounded number of times.

    Raises `BlobMissing` when made, `BlobStoreUnavailable` when made and while it is read.
    """

    def __init__(self, client: Any, bucket: Bucket, key: str, sha256: str) -> None:
        self._client = client
        self._bucket = bucket
        self._key = key
        self._sha256 = sha256
        self._offset = 0
        self._resumed = 0
        found = self._get()
        self.stored_bytes = int(found["ContentLength"])
        self._etag = found["ETag"]
        self._body = found["Body"]

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        wanted = size if size >= 0 else self.stored_bytes - self._offset
        while True:
            try:
                with told(self._bucket.url, self._sha256):
                    chunk: bytes = self._body.read(wanted)
                if wanted and not chunk and self._offset < self.stored_bytes:
                    raise BlobStoreUnavailable(f"{self._bucket.url} stopped sending.", "Try again.")
            except BlobStoreUnavailable:
                self._resume()
                continue
            self._offset += len(chunk)
            return chunk

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        chunk = self.read(len(view))
        view[: len(chunk)] = chunk
        return len(chunk)

    def close(self) -> None:
        if not self.closed:
            self._body.close()
        super().close()

    def _resume(self) -> None:
        """Raises the error that is being handled when this was done too often."""
        if self._resumed == MOST_RESUMED:
            raise
        self._resumed += 1
        self._body.close()
        self._body = self._get(Range=f"bytes={self._offset}-", IfMatch=self._etag)["Body"]

    def _get(self, **options: str) -> dict[str, Any]:
        with told(self._bucket.url, self._sha256):
            found: dict[str, Any] = self._client.get_object(Bucket=self._bucket.name, Key=self._key, **options)
            return found
