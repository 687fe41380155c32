"""The S3 back end: `<prefix>ab/abcdef....zst`, in any store that speaks S3.

Two hosts may put and collect the same content at the same time. S3 has no lock, but what it answers is never old, so
whoever deletes announces it first (`s3deleting`), and whoever made an old content young looks for announcements after.
"""

from __future__ import annotations

import hashlib
import io
import threading
import time
from collections import OrderedDict
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import IO, Any
from urllib.parse import urlencode

from runs.blobs.base import (
    CHUNK_BYTES,
    REFRESH_AFTER_S,
    BlobCorrupt,
    BlobMissing,
    BlobStore,
    BlobStoreUnavailable,
    Kept,
    Stored,
    pack,
    pack_into,
    require_name,
)
from runs.blobs.cache import DiskCache
from runs.blobs.s3deleting import delete_announced, wait_for_deletions
from runs.blobs.s3errors import told
from runs.blobs.s3reading import S3Reader

CONNECT_TIMEOUT_S = 5
READ_TIMEOUT_S = 30
ATTEMPTS = 4
PART_BYTES = 16 * 1024 * 1024
CONNECTIONS = 32
PAGE = 1_000
MOST_KNOWN = 20_000
"""Contents of which a process remembers that they are young."""
DAMAGED = -1
STORED_BYTES = "stored-bytes"
"""Metadata of each object: an object of another size was cut short on its way."""


@dataclass(frozen=True, slots=True)
class Keys:
    """Empty: where boto3 looks by itself (environment, profile, the machine's role)."""

    access_key: str = ""
    secret_key: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Bucket:
    name: str
    prefix: str = ""
    endpoint: str = ""
    region: str = ""
    profile: str = ""

    @property
    def url(self) -> str:
        query = {"endpoint": self.endpoint, "region": self.region, "profile": self.profile}
        given = urlencode({name: value for name, value in query.items() if value}, safe=":/")
        return f"s3://{self.name}/{self.prefix.rstrip('/')}" + (f"?{given}" if given else "")


@dataclass(frozen=True, slots=True)
class Found:
    """What there is of a content before it is put."""

    there: bool
    young_bytes: int | None = None
    """Its stored size when nobody will collect it soon; None: it has to be written."""


class S3Store(BlobStore):
    def __init__(self, bucket: Bucket, keys: Keys, cache: DiskCache) -> None:
        self.bucket = bucket
        self.url = bucket.url
        self.cache = cache
        self._keys = keys
        self._lock = threading.Lock()
        self._clients: dict[int, Any] = {}
        self._young: OrderedDict[str, tuple[float, int]] = OrderedDict()  # until when, stored bytes

    def put(self, data: bytes) -> Stored:
        sha256 = hashlib.sha256(data).hexdigest()
        found = self._look(sha256)
        stored_bytes = found.young_bytes
        if stored_bytes is None:
            packed = pack(data)
            stored_bytes = len(packed)
            self._upload(sha256, io.BytesIO(packed), stored_bytes, found)
            self.cache.add(sha256, packed)
        return Stored(sha256, len(data), stored_bytes)

    def put_stream(self, chunks: Iterable[bytes]) -> Stored:
        """Spooled to this disk first: the name is known when the content has ended."""
        with self.cache.written() as file:
            sha256, size_bytes = pack_into(file, chunks)
            stored_bytes = file.tell()
            found = self._look(sha256)
            if found.young_bytes is None:
                file.flush()
                with open(file.name, "rb") as packed:
                    self._upload(sha256, packed, stored_bytes, found)
            self.cache.keep(sha256, file)
        return Stored(sha256, size_bytes, stored_bytes)

    def has(self, sha256: str) -> bool:
        return self._head(sha256) is not None

    def get(self, sha256: str) -> bytes:
        try:
            return super().get(sha256)
        except BlobCorrupt:
            # The copy on this disk may be what is damaged; it is dropped now. The second look is at the store.
            return super().get(sha256)

    def iterate(self) -> Iterator[Kept]:
        pages = (
            self.client().get_paginator("list_objects_v2").paginate(Bucket=self.bucket.name, Prefix=self.bucket.prefix)
        )
        with told(self.url):
            for page in pages:
                for found in page.get("Contents", ()):
                    sha256 = found["Key"].rpartition("/")[2].removesuffix(".zst")
                    if found["Key"] == self._key_or_none(sha256):
                        yield Kept(sha256, found["Size"], found["LastModified"].astimezone(UTC))

    def delete(self, sha256: str, *, unless_newer_than: datetime | None = None) -> bool:
        return bool(self.delete_many([sha256], unless_newer_than=unless_newer_than))

    def delete_many(self, names: Collection[str], *, unless_newer_than: datetime | None = None) -> set[str]:
        with self._lock:
            for sha256 in names:
                self._young.pop(sha256, None)
        for sha256 in names:
            self.cache.drop(sha256)
        # An attempt that is made again might come after somebody has put the content again: only one is made.
        client = self.client(attempts=1)
        return delete_announced(client, self.bucket, {self.key(each): each for each in names}, unless_newer_than)

    def settle(self) -> None:
        """What S3 has taken it keeps."""

    def check(self) -> None:
        probe = f"{self.bucket.prefix}check"
        with told(self.url):
            client = self.client(attempts=1)
            client.put_object(Bucket=self.bucket.name, Key=probe, Body=b"can this bucket be written?")
            client.get_object(Bucket=self.bucket.name, Key=probe)["Body"].read()
            client.list_objects_v2(Bucket=self.bucket.name, Prefix=self.bucket.prefix, MaxKeys=1)
            client.delete_object(Bucket=self.bucket.name, Key=probe)

    def _open_packed(self, sha256: str) -> io.BufferedReader:
        found = self.cache.open(sha256)
        if found is not None:
            return found
        reader = S3Reader(self.client(), self.bucket, self.key(sha256), sha256)
        if not self.cache.takes(reader.stored_bytes):
            return io.BufferedReader(reader, CHUNK_BYTES)
        with reader, self.cache.written() as file:
            while chunk := reader.read(CHUNK_BYTES):
                file.write(chunk)
            file.flush()
            copy = open(file.name, "rb")  # noqa: SIM115 - the caller's
            self.cache.keep(sha256, file)
        return copy

    def _damaged(self, sha256: str) -> None:
        self.cache.drop(sha256)
        with self._lock:
            # Whoever puts it again in this process writes it anew; others do when it is an hour old.
            self._young[sha256] = (0.0, DAMAGED)

    def _look(self, sha256: str) -> Found:
        with self._lock:
            until_s, stored_bytes = self._young.get(sha256, (0.0, 0))
        if time.time() < until_s:
            return Found(True, stored_bytes)
        head = self._head(sha256)
        if head is None:
            return Found(False)
        until_s = head["LastModified"].timestamp() + REFRESH_AFTER_S
        whole = str(head["ContentLength"]) == head["Metadata"].get(STORED_BYTES)
        if stored_bytes == DAMAGED or not whole or time.time() >= until_s:
            return Found(True)
        self._note(sha256, until_s, head["ContentLength"])
        return Found(True, int(head["ContentLength"]))

    def _upload(self, sha256: str, packed: IO[bytes], stored_bytes: int, found: Found) -> None:
        """Whole or not at all, in parts when it is large; also in place of an old one, which becomes young by it."""
        from boto3.s3.transfer import TransferConfig

        parts = TransferConfig(multipart_threshold=PART_BYTES, multipart_chunksize=PART_BYTES, max_concurrency=2)
        extra = {"Metadata": {STORED_BYTES: str(stored_bytes)}, "ContentType": "application/zstd"}
        while True:
            packed.seek(0)
            with told(self.url):
                # The transfer closes what it is given, but is not told to own it.
                self.client().upload_fileobj(
                    _Unclosed(packed), self.bucket.name, self.key(sha256), ExtraArgs=extra, Config=parts
                )
            # Nobody deletes what was not there. What was may have been deleted after this, as the old one that it was.
            if not found.there or not wait_for_deletions(self.client(), self.bucket) or self.has(sha256):
                break
        self._note(sha256, time.time() + REFRESH_AFTER_S, stored_bytes)

    def _head(self, sha256: str) -> dict[str, Any] | None:
        try:
            with told(self.url, sha256):
                found: dict[str, Any] = self.client().head_object(Bucket=self.bucket.name, Key=self.key(sha256))
                return found
        except BlobMissing:
            return None

    def _note(self, sha256: str, until_s: float, stored_bytes: int) -> None:
        with self._lock:
            self._young[sha256] = (until_s, stored_bytes)
            while len(self._young) > MOST_KNOWN:
                self._young.popitem(last=False)

    def key(self, sha256: str) -> str:
        return f"{self.bucket.prefix}{sha256[:2]}/{require_name(sha256)}.zst"

    def _key_or_none(self, sha256: str) -> str | None:
        try:
            return self.key(sha256)
        except BlobMissing:
            return None

    def client(self, attempts: int = ATTEMPTS) -> Any:
        """boto3 is imported here: it is large, and an installation with a folder never needs it."""
        with self._lock:
            if attempts not in self._clients:
                self._clients[attempts] = self._connect(attempts)
            return self._clients[attempts]

    def _connect(self, attempts: int) -> Any:
        import boto3
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError

        config = Config(
            connect_timeout=CONNECT_TIMEOUT_S,
            read_timeout=READ_TIMEOUT_S,
            retries={"mode": "standard", "total_max_attempts": attempts},
            max_pool_connections=CONNECTIONS,
            # Every content is checked against its name; checksums of the newest S3 are refused by other stores.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            # Stores under an address of their own have no host name for each bucket.
            s3={"addressing_style": "path" if self.bucket.endpoint else "auto"},
        )
        try:
            return boto3.Session(profile_name=self.bucket.profile or None).client(
                "s3",
                endpoint_url=self.bucket.endpoint or None,
                region_name=self.bucket.region or ("us-east-1" if self.bucket.endpoint else None),
                aws_access_key_id=self._keys.access_key or None,
                aws_secret_access_key=self._keys.secret_key or None,
                config=config,
            )
        except (BotoCoreError, ValueError) as error:
            raise BlobStoreUnavailable(
                f"{self.url} cannot be used: {error}.", "Correct RLMWEB_BLOB_STORE_URL."
            ) from error


class _Unclosed(io.RawIOBase):
    """A file as the transfer wants it, which is not closed at its end: it may have to be sent again."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        return self._file.read(size)

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()
