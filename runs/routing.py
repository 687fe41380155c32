"""Addresses of the websockets."""

from __future__ import annotations

from typing import Any, cast

from django.urls import URLPattern, path

from runs.consumers import SessionConsumer

websocket_urlpatterns: list[URLPattern] = [
    # An ASGI application where Django's types expect a view.
    path("ws/sessions/<uuid:uuid>/", cast(Any, SessionConsumer.as_asgi())),
]
