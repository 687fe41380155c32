"""A real Daphne refuses a body that is too large before it has taken it in."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from rlmweb.body_limit import MAX_BODY_BYTES
from runs.api.contexts import SINGLE_UPLOAD_BYTES
from tests.live import Site, running_site

pytestmark = pytest.mark.django_db(transaction=True)
GIB = 2**30
MIB = 2**20


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with running_site(tmp_path) as found:
        yield found


def rss_of(site: Site) -> int:
    assert site.web.process is not None
    return int(psutil.Process(site.web.process.pid).memory_info().rss)


def send(site: Site, head: str, body: Iterator[bytes]) -> bytes:
    """The first part of the answer; the server may close before everything is sent."""
    host, port = site.address.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=30) as client:
        client.sendall(f"POST /login/ HTTP/1.1\r\nHost: {host}:{port}\r\n{head}\r\n\r\n".encode())
        with contextlib.suppress(ConnectionError):
            for piece in body:
                client.sendall(piece)
        with contextlib.suppress(ConnectionError):
            return client.recv(4096)
    return b""


def zeros(total_bytes: int) -> Iterator[bytes]:
    return (bytes(MIB) for _ in range(total_bytes // MIB))


def chunked(total_bytes: int) -> Iterator[bytes]:
    yield from (b"%x\r\n%s\r\n" % (MIB, piece) for piece in zeros(total_bytes))
    yield b"0\r\n\r\n"


def test_a_declared_gigabyte_is_refused_at_once(site: Site) -> None:
    answer = send(site, f"Content-Length: {GIB}", iter(()))
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"Send files in parts" in answer


def test_a_gigabyte_that_nobody_declared_costs_no_gigabyte(site: Site) -> None:
    before = rss_of(site)
    answer = send(site, "Transfer-Encoding: chunked", chunked(GIB))
    assert answer == b"" or answer.startswith(b"HTTP/1.1 413 ")
    assert rss_of(site) - before < 2 * MAX_BODY_BYTES
    assert send(site, "Content-Length: 0", iter(())).startswith(b"HTTP/1.1 4")


def test_a_body_below_the_limit_reaches_the_application(site: Site) -> None:
    answer = send(site, f"Content-Length: {4 * MIB}", zeros(4 * MIB))
    assert answer.startswith(b"HTTP/1.1 403 ")  # it has no CSRF token, which only the application knows
    assert SINGLE_UPLOAD_BYTES < MAX_BODY_BYTES
