"""Addresses of the websockets."""

from __future__ import annotations

from typing import Any, cast

from django.urls import URLPattern, path

from runs.consumers import SessionConsumer
from runs.shared_consumer import SharedConsumer

websocket_urlpatterns: list[URLPattern] = [
    # An ASGI application where Django's types expect a view.
    # Under the link's own address, where its cookie is sent.
    path("shared/<str:public_id>/live/", cast(Any, SharedConsumer.as_asgi())),
    path("ws/sessions/<uuid:uuid>/", cast(Any, SessionConsumer.as_asgi())),
]
