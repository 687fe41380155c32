"""Which store an address names: `file:///folder` or `s3://bucket/prefix?endpoint=...&region=...&profile=...`."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from runs.blobs.base import BlobStore
from runs.blobs.cache import DiskCache
from runs.blobs.folder import FolderStore
from runs.blobs.s3 import Bucket, Keys, S3Store

QUERY = frozenset({"endpoint", "region", "profile"})


class BadAddress(ValueError):
    """The address names no store. The message says what is wrong and quotes no secret."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the settings say about stores besides their address."""

    keys: Keys
    cache_dir: Path
    cache_bytes: int


def blob_store() -> BlobStore:
    """The installation's store."""
    return open_store(store_url())


def store_url() -> str:
    from django.conf import settings

    return str(settings.BLOB_STORE_URL) or Path(settings.BLOB_DIR).absolute().as_uri()


def open_store(url: str, *, cached: bool = True) -> BlobStore:
    """The store at this address; one object for each address in a process. Raises `BadAddress`.

    Without `cached` every read comes from the store itself.
    """
    from django.conf import settings

    keys = Keys(settings.BLOB_STORE_ACCESS_KEY, settings.BLOB_STORE_SECRET_KEY)
    return _store_at(url, Surroundings(keys, Path(settings.BLOB_CACHE_DIR), settings.BLOB_CACHE_BYTES if cached else 0))


@lru_cache(maxsize=8)
def _store_at(url: str, around: Surroundings) -> BlobStore:
    parts = urlsplit(url)
    if parts.scheme == "file":
        if parts.netloc not in {"", "localhost"} or not parts.path.startswith("/"):
            raise BadAddress("A folder is written file:///absolute/path.")
        return FolderStore(Path(unquote(parts.path)))
    if parts.scheme == "s3":
        bucket = _bucket(parts)
        # A content that one bucket has says nothing about another: each has copies of its own.
        own = hashlib.sha256(bucket.url.encode()).hexdigest()[:16] if around.cache_bytes else "uncached"
        return S3Store(bucket, around.keys, DiskCache(around.cache_dir / own, around.cache_bytes))
    raise BadAddress(f"There are stores file:///... and s3://..., not {parts.scheme[:20] or 'one without a scheme'!r}.")


def _bucket(parts: SplitResult) -> Bucket:
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    if unknown := query.keys() - QUERY:
        raise BadAddress(f"An S3 address has {', '.join(sorted(QUERY))} behind its '?', not {min(unknown)[:20]!r}.")
    if "@" in parts.netloc or not parts.netloc:
        raise BadAddress("An S3 address is s3://bucket/prefix; keys are no part of it (RLMWEB_BLOB_STORE_ACCESS_KEY).")
    endpoint = query.get("endpoint", "")
    if endpoint and (urlsplit(endpoint).scheme not in {"http", "https"} or not urlsplit(endpoint).netloc):
        raise BadAddress("The endpoint of an S3 address is http://host:port or https://host.")
    prefix = unquote(parts.path).strip("/")
    return Bucket(
        parts.netloc, f"{prefix}/" if prefix else "", endpoint, query.get("region", ""), query.get("profile", "")
    )
