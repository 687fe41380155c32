"""Addresses of the runs room."""

from __future__ import annotations

from django.urls import URLPattern, URLResolver, path

from runs.api.api import api

app_name = "runs"

urlpatterns: list[URLPattern | URLResolver] = [
    path("api/v1/", api.urls),
]
