"""Addresses of people: joining, and who belongs where."""

from __future__ import annotations

from django.urls import URLPattern, URLResolver, path

from rlmweb.teams.views import joining, people, policy

app_name = "teams"

urlpatterns: list[URLPattern | URLResolver] = [
    path("join/", joining.join, name="join"),
    path("people/", people.first, name="people_first"),
    path("people/<slug:slug>/", people.people, name="people"),
    path("people/<slug:slug>/review.csv", people.review, name="review"),
    path("people/<slug:slug>/teams/", people.team_add, name="team_add"),
    path("people/<slug:slug>/invitations/", people.invite_person, name="invite"),
    path("people/<slug:slug>/invitations/<uuid:uuid>/withdraw/", people.invitation_withdraw, name="withdraw"),
    path("people/<slug:slug>/roles/", people.role_set, name="role_set"),
    path("people/<slug:slug>/policy/", policy.policy, name="policy"),
    path("people/<slug:slug>/policy/preview/", policy.policy_preview, name="policy_preview"),
    path("people/<slug:slug>/policy/set/", policy.policy_set, name="policy_set"),
    path("people/<slug:slug>/second-factor/", people.second_factor, name="second_factor"),
    path("people/<slug:slug>/content/", people.content_grant, name="content_grant"),
    path("people/<slug:slug>/content/<uuid:uuid>/end/", people.content_end, name="content_end"),
]
