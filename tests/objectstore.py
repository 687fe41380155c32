"""A server that speaks S3, as a process of its own, and a proxy in front of it that breaks what passes."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

from runs.blobs.addresses import _store_at
from runs.blobs.cache import DiskCache
from runs.blobs.s3 import Bucket, Keys, S3Store
from tests.installations import wait_for

KEYS = Keys("tests", "tests-secret")
CACHE_BYTES = 64 * 2**20


class ObjectServer:
    """moto, which keeps objects in memory. It lets everybody in, unless it is told to ask from a request on."""

    def __init__(self, log: Path, *, asks_after: int | None = None) -> None:
        self.port = free_port()
        self.endpoint = f"http://127.0.0.1:{self.port}"
        self._log = log
        environment = dict(os.environ)
        if asks_after is not None:
            environment["INITIAL_NO_AUTH_ACTION_COUNT"] = str(asks_after)
        command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self.port)]
        with log.open("ab") as output:
            self.process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, env=environment)
        try:
            wait_for(self._answers, "the start of the object store")
        except BaseException:
            self.kill()
            raise

    def bucket(self, prefix: str = "", endpoint: str = "") -> Bucket:
        """A new one."""
        bucket = Bucket(f"tests-{uuid4().hex[:20]}", prefix, endpoint or self.endpoint)
        raw(Bucket(bucket.name, "", self.endpoint)).create_bucket(Bucket=bucket.name)
        return bucket

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def _answers(self) -> bool:
        assert self.process.poll() is None, f"the object store ended early:\n{self._log.read_text()}"
        try:
            with urllib.request.urlopen(f"{self.endpoint}/moto-api/", timeout=10):  # noqa: S310 - our own server
                return True
        except (urllib.error.URLError, OSError):
            return False


def store_in(bucket: Bucket, cache_dir: Path, *, cache_bytes: int = CACHE_BYTES, keys: Keys = KEYS) -> S3Store:
    return S3Store(bucket, keys, DiskCache(cache_dir, cache_bytes))


def raw(bucket: Bucket) -> Any:
    """boto3's own client, to do what the store would not."""
    return S3Store(bucket, KEYS, DiskCache(Path(os.devnull), 1)).client()


def forget_stores() -> None:
    """A store remembers what it saw; what a test made of it must not meet the next one."""
    _store_at.cache_clear()


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


class BreakingProxy:
    """Passes connections on. While `cut_after` is set, each connection is cut when so many bytes came back."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.endpoint = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.cut_after: int | None = None
        self.cuts_left = 0
        self.cuts = 0
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)  # wakes the thread that waits for a connection
        self._thread.join()
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):  # closed
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._connect, args=(client,), daemon=True).start()

    def _connect(self, client: socket.socket) -> None:
        with client, socket.create_connection(("127.0.0.1", self._target)) as server:
            there = threading.Thread(target=self._pass, args=(client, server, False), daemon=True)
            there.start()
            self._pass(server, client, True)
            there.join()

    def _pass(self, source: socket.socket, target: socket.socket, back: bool) -> None:
        passed = 0
        with suppress(OSError):
            while data := source.recv(16_384):
                if back and self.cut_after is not None and self.cuts_left and passed + len(data) > self.cut_after:
                    target.sendall(data[: max(0, self.cut_after - passed)])
                    self.cuts_left -= 1
                    self.cuts += 1
                    break
                passed += len(data)
                target.sendall(data)
        for each in (source, target):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)


@contextmanager
def breaking(port: int) -> Iterator[BreakingProxy]:
    proxy = BreakingProxy(port)
    try:
        yield proxy
    finally:
        proxy.close()
