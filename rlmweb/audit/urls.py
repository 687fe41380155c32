"""Addresses of the audit log."""

from __future__ import annotations

from django.urls import path

from rlmweb.audit import views

app_name = "audit"

urlpatterns = [
    path("", views.log, name="log"),
    path("verify_audit.py", views.verifier, name="verifier"),
    path("<uuid:chain>/verify/", views.verify_chain, name="verify"),
    path("<uuid:chain>/export/<str:form>/", views.export, name="export"),
]
