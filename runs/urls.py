"""Addresses of the runs room."""

from __future__ import annotations

from django.urls import URLPattern, URLResolver, path

from runs.api.api import api
from runs.views import (
    archive,
    compare,
    contexts,
    docs,
    fork,
    keys,
    reexecution,
    rollout,
    run,
    sessions,
    snapshot,
    spending,
    start,
    status,
    store,
)

app_name = "runs"
STEP = "sessions/<uuid:uuid>/nodes/<int:node>/steps/<int:step>/"

urlpatterns: list[URLPattern | URLResolver] = [
    path("api/v1/", api.urls),
    path("", sessions.session_list, name="session_list"),
    path("first/", sessions.first, name="first"),
    path("sessions/rows/", sessions.session_rows, name="session_rows"),
    path("sessions/new/", start.session_new, name="session_new"),
    path("sessions/new/example/", start.example_preview, name="example_preview"),
    path("sessions/import/", archive.session_import, name="session_import"),
    path("sessions/import/finish/", archive.import_finish, name="import_finish"),
    path("imports/<uuid:uuid>/", archive.import_job, name="import"),
    path("imports/<uuid:uuid>/stop/", archive.import_stop, name="import_stop"),
    path("sessions/<uuid:uuid>/archive/", archive.session_archive, name="session_archive"),
    path("sessions/<uuid:uuid>/stop/", sessions.session_stop, name="session_stop"),
    path("sessions/<uuid:uuid>/pin/", store.session_pin, name="session_pin"),
    path("sessions/<uuid:uuid>/delete/", store.session_delete, name="session_delete"),
    path("contexts/uploads/", contexts.upload_begin, name="upload_begin"),
    path("contexts/uploads/part/", contexts.upload_part, name="upload_part"),
    path("contexts/uploads/finish/", contexts.upload_finish, name="upload_finish"),
    path("contexts/uploads/cancel/", contexts.upload_cancel, name="upload_cancel"),
    path("contexts/<uuid:uuid>/preview/", contexts.context_preview, name="context_preview"),
    path("keys/", keys.keys, name="keys"),
    path("keys/<uuid:uuid>/delete/", keys.key_delete, name="key_delete"),
    path("keys/tokens/", keys.token_new, name="token_new"),
    path("keys/tokens/<uuid:uuid>/revoke/", keys.token_revoke, name="token_revoke"),
    path("status/", status.status_page, name="status"),
    path("status/model/", status.model_status, name="model_status"),
    path("store/", store.store, name="store"),
    path("store/runs/", store.store_runs, name="store_runs"),
    path("store/collect/", store.store_collect, name="store_collect"),
    path("docs/", docs.guide, name="docs"),
    path("docs/events/", docs.events, name="docs_events"),
    path("docs/protocol/", docs.protocol, name="docs_protocol"),
    path("docs/api/", docs.rest_api, name="docs_api"),
    path("sessions/<uuid:uuid>/", run.session, name="session"),
    path("sessions/<uuid:uuid>/rollouts/new/", rollout.rollout_new, name="rollout_new"),
    path(
        "sessions/<uuid:uuid>/nodes/<int:node>/steps/<int:step>/reexecute/",
        reexecution.reexecution_new,
        name="reexecution_new",
    ),
    path("reexecutions/<uuid:uuid>/", reexecution.reexecution, name="reexecution"),
    path("reexecutions/<uuid:uuid>/stop/", reexecution.reexecution_stop, name="reexecution_stop"),
    path("sessions/<uuid:uuid>/nodes/<int:node>/steps/<int:step>/fork/", fork.fork_new, name="fork_new"),
    path(
        "sessions/<uuid:uuid>/nodes/<int:node>/steps/<int:step>/fork/changes/", fork.fork_changes, name="fork_changes"
    ),
    path("sessions/<uuid:uuid>/lineage/", fork.lineage, name="lineage"),
    path("compare/", compare.compare, name="compare"),
    path("sessions/<uuid:uuid>/spending/", spending.session_spending, name="session_spending"),
    path("sessions/<uuid:uuid>/spending.json", spending.session_spending_figure, name="session_spending_figure"),
    path("sessions/<uuid:uuid>/rollouts.json", rollout.session_rollouts, name="session_rollouts"),
    path("rollouts/<uuid:uuid>/", rollout.rollout, name="rollout"),
    path("rollouts/<uuid:uuid>/figure.json", rollout.rollout_figure, name="rollout_figure"),
    path("rollouts/<uuid:uuid>/stop/", rollout.rollout_stop, name="rollout_stop"),
    path("rollouts/<uuid:uuid>/rollout.<str:form>", rollout.rollout_export, name="rollout_export"),
    path(STEP + "snapshot/", snapshot.snapshot, name="snapshot"),
    path(STEP + "snapshot/pin/", store.snapshot_pin, name="snapshot_pin"),
    path(STEP + "snapshot/timeline/", snapshot.snapshot_timeline, name="snapshot_timeline"),
    path(STEP + "snapshot/evaluate/", snapshot.snapshot_evaluate, name="snapshot_evaluate"),
    path(STEP + "snapshot/diff/", snapshot.snapshot_diff, name="snapshot_diff"),
    path(STEP + "snapshot/download/", snapshot.snapshot_download, name="snapshot_download"),
    path("sessions/<uuid:uuid>/events.jsonl", run.session_events, name="session_events"),
    path("sessions/<uuid:uuid>/blobs/<str:sha256>", run.session_blob, name="session_blob"),
]
