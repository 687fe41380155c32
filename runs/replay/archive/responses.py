"""An archive as an HTTP response: written while it is sent, so that a large one needs neither memory nor waiting."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache

from django.db import connections
from django.http import StreamingHttpResponse

from runs.replay.archive import format as form


@cache
def _threads() -> ThreadPoolExecutor:
    """Few of their own: compressing a large context must not hold up the pages."""
    return ThreadPoolExecutor(2, thread_name_prefix="rlmweb-exports")


class _Chunks:
    """What Django streams; it calls `close` also when the browser goes away in the middle."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks

    def close(self) -> None:
        """After what is being read now, if anything: the iterator is never used by two threads."""
        _threads().submit(self._close)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        loop = asyncio.get_running_loop()
        while (chunk := await loop.run_in_executor(_threads(), self._next)) is not None:
            yield chunk

    def _next(self) -> bytes | None:
        try:
            return next(self._chunks, None)
        finally:
            connections.close_all()

    def _close(self) -> None:
        close = getattr(self._chunks, "close", None)
        if close is not None:
            close()


def archive_response(chunks: Iterator[bytes], filename: str) -> StreamingHttpResponse:
    response = StreamingHttpResponse(_Chunks(chunks), content_type=form.CONTENT_TYPE)
    response["Content-Disposition"] = f'attachment; filename="{filename}"'
    response["X-Content-Type-Options"] = "nosniff"
    response["Cache-Control"] = "no-store"
    return response
