"""A download as an HTTP response: an attachment whose kind no browser guesses at."""

from __future__ import annotations

from collections.abc import AsyncIterator

from asgiref.sync import sync_to_async
from django.http import StreamingHttpResponse

from runs.replay.inspect.downloads import Download


def download_response(found: Download) -> StreamingHttpResponse:
    response = StreamingHttpResponse(_chunks(found), content_type=found.content_type)
    response["Content-Disposition"] = f'attachment; filename="{found.filename}"'
    response["Content-Length"] = str(found.size_bytes)
    response["X-Content-Type-Options"] = "nosniff"
    response["Cache-Control"] = "no-store"
    return response


async def _chunks(found: Download) -> AsyncIterator[bytes]:
    chunks = found.chunks()
    read = sync_to_async(lambda: next(chunks, b""), thread_sensitive=False)
    while chunk := await read():
        yield chunk
