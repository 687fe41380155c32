"""Addresses of the quotas."""

from __future__ import annotations

from django.urls import URLPattern, URLResolver, path

from rlmweb.quotas import views

app_name = "quotas"

urlpatterns: list[URLPattern | URLResolver] = [
    path("", views.quotas, name="quotas"),
    path("preview/", views.preview, name="preview"),
    path("set/", views.quota_set, name="set"),
    path("<uuid:uuid>/remove/", views.quota_remove, name="remove"),
]
