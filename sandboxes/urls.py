"""Addresses of the sandbox room."""

from __future__ import annotations

from django.urls import URLPattern, URLResolver, path

from sandboxes.views import catalogue

app_name = "sandboxes"
ROOT = "providers/catalogue/"

urlpatterns: list[URLPattern | URLResolver] = [
    path(ROOT, catalogue.catalogue, name="catalogue"),
    path(f"{ROOT}figure.json", catalogue.catalogue_figure, name="catalogue_figure"),
    path(f"{ROOT}export/<str:name>", catalogue.catalogue_export, name="catalogue_export"),
    path(f"{ROOT}rows/<uuid:uuid>/remove/", catalogue.catalogue_row_remove, name="catalogue_row_remove"),
    path(f"{ROOT}<slug:provider>/", catalogue.catalogue_provider, name="catalogue_provider"),
    path(f"{ROOT}<slug:provider>/rows/", catalogue.catalogue_row_add, name="catalogue_row_add"),
]
