"""Every address of the site."""

from __future__ import annotations

from django.contrib import admin
from django.contrib.auth.views import LogoutView
from django.urls import include, path
from django.urls.resolvers import URLPattern, URLResolver

from rlmweb.health import healthz
from rlmweb.teams.signin import how_to_open, open_installation, reset_password, sign_in
from rlmweb.teams.sso import leave_for_provider

urlpatterns: list[URLPattern | URLResolver] = [
    path("admin/", admin.site.urls),
    path("healthz", healthz, name="healthz"),
    path("login/", sign_in, name="login"),
    path("logout/", LogoutView.as_view(next_page="login"), name="logout"),
    path("open/", how_to_open, name="how_to_open"),
    path("open/<str:token>/", open_installation, name="open"),
    path("accounts/password/reset/", reset_password, name="account_reset_password"),
    path("accounts/oidc/<str:provider_id>/login/", leave_for_provider, name="leave_for_provider"),
    path("accounts/", include("allauth.urls")),
    path("audit/", include("rlmweb.audit.urls")),
    path("", include("sandboxes.urls")),
    path("quotas/", include("rlmweb.quotas.urls")),
    path("", include("rlmweb.teams.urls")),
    path("", include("runs.urls")),
]
