"""The documentation pages. What can be generated from the code is, so that it cannot be out of date."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from django.conf import settings
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.safestring import SafeString
from django.views.decorators.http import require_safe
from markdown_it import MarkdownIt

from runs.api.api import api
from runs.event_reference import event_reference
from runs.events.types import INLINE_TEXT_BYTES, MAX_EVENT_BYTES

ROOT = Path(settings.ROOT_DIR)
PROTOCOL = ROOT / "sandboxes" / "docs" / "runner-protocol.md"
CATALOGUE = ROOT / "sandboxes" / "docs" / "catalogue.md"


@login_required
@require_safe
def guide(request: HttpRequest) -> HttpResponse:
    return render(request, "docs/guide.html")


@login_required
@require_safe
def events(request: HttpRequest) -> HttpResponse:
    sizes = {"max_event_bytes": MAX_EVENT_BYTES, "inline_text_bytes": INLINE_TEXT_BYTES}
    return render(request, "docs/events.html", {"groups": event_reference(), **sizes})


@login_required
@require_safe
def protocol(request: HttpRequest) -> HttpResponse:
    return render(request, "docs/markdown.html", {"title": "Runner protocol", "body": _rendered(PROTOCOL)})


@login_required
@require_safe
def catalogue(request: HttpRequest) -> HttpResponse:
    return render(request, "docs/markdown.html", {"title": "Catalogue of providers", "body": _rendered(CATALOGUE)})


@login_required
@require_safe
def rest_api(request: HttpRequest) -> HttpResponse:
    schema = api.get_openapi_schema(path_prefix="/api/v1/")
    operations = [
        {
            "method": method.upper(),
            "path": path,
            "summary": operation.get("description") or operation.get("summary", ""),
        }
        for path, methods in schema["paths"].items()
        for method, operation in methods.items()
    ]
    return render(request, "docs/api.html", {"operations": operations})


@cache
def _rendered(path: Path) -> SafeString:
    """A document of the repository as HTML. Raw HTML in it is shown as text, not passed on."""
    markdown = MarkdownIt("commonmark", {"html": False}).enable("table")
    return SafeString(markdown.render(path.read_text()))  # nosec B703  # made by the renderer from our own file
