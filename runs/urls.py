"""Addresses of the runs room."""

from __future__ import annotations

from django.urls import URLPattern, URLResolver, path

from runs.api.api import api
from runs.views import run

app_name = "runs"

urlpatterns: list[URLPattern | URLResolver] = [
    path("api/v1/", api.urls),
    path("sessions/<uuid:uuid>/", run.session, name="session"),
    path("sessions/<uuid:uuid>/events.jsonl", run.session_events, name="session_events"),
    path("sessions/<uuid:uuid>/blobs/<str:sha256>", run.session_blob, name="session_blob"),
]
