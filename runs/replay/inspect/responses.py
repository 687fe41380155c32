"""A download as an HTTP response: an attachment whose kind no browser guesses at."""

from __future__ import annotations

from collections.abc import AsyncIterator

from asgiref.sync import sync_to_async
from django.http import StreamingHttpResponse

from runs.replay.inspect.downloads import Download


class _Chunks:
    """What Django streams; it calls `close` also when the browser goes away in the middle."""

    def __init__(self, found: Download) -> None:
        self._chunks = found.chunks()
        self.close = found.file.close

    async def __aiter__(self) -> AsyncIterator[bytes]:
        read = sync_to_async(lambda: next(self._chunks, b""), thread_sensitive=False)
        while chunk := await read():
            yield chunk


def download_response(found: Download) -> StreamingHttpResponse:
    response = StreamingHttpResponse(_Chunks(found), content_type=found.content_type)
    response["Content-Disposition"] = f'attachment; filename="{found.filename}"'
    response["Content-Length"] = str(found.size_bytes)
    response["X-Content-Type-Options"] = "nosniff"
    response["Cache-Control"] = "no-store"
    return response
