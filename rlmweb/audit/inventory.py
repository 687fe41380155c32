"""What the log records: the closed list of actions, and which entrance each belongs to.

Entrances are named as the test of this file finds them: `view:` a function behind an address, `api:` an operation,
`task:` a Celery task, `ws:` a message of the websocket, `command:` of manage.py, `admin:` a model that can be changed
there. Every entrance stands here once or more, or in `UNRECORDED` with the reason; a new one fails the test until it does.
"""

from __future__ import annotations

from dataclasses import dataclass


class UnknownAction(ValueError):
    """The inventory (rlmweb/audit/inventory.py) does not name this action: add it there, with who writes it."""


@dataclass(frozen=True, slots=True)
class Action:
    """`writer`: the module that records it. `read`: staged and sealed by the second instead of an entry of its own."""

    writer: str
    entrances: tuple[str, ...] = ()
    read: bool = False


_START = ("view:runs.views.start.session_new", "api:runs.api.sessions.create_session")
_COMMANDS = ("command:run_session", "command:first_session", "view:runs.views.sessions.first")
_UPLOADS = (
    "view:runs.views.contexts.upload_begin",
    "view:runs.views.contexts.upload_part",
    "view:runs.views.contexts.upload_finish",
    *(
        f"api:runs.api.contexts.{name}"
        for name in (
            "create_context",
            "upload",
            "begin_upload",
            "upload_part",
            "finish_upload",
            "create_from_path",
            "create_from_url",
            "create_example",
        )
    ),
)
_IMPORT = ("view:runs.views.archive.session_import", "view:runs.views.archive.import_finish")
_COLLECT = ("view:runs.views.store.store_collect", "api:runs.api.store.collect_store", "command:collect_garbage")

_READS = (
    "view:runs.views.run.session",
    "view:runs.views.run.session_events",
    "view:runs.views.run.session_blob",
    "view:runs.views.fork.lineage",
    "view:runs.views.compare.compare",
    "view:runs.views.spending.session_spending",
    "view:runs.views.rollout.session_rollouts",
    "view:runs.views.rollout.rollout",
    "view:runs.views.rollout.rollout_export",
    "view:runs.views.snapshot.snapshot",
    "view:runs.views.snapshot.snapshot_timeline",
    "api:runs.api.sessions.get_session",
    "api:runs.api.sessions.list_nodes",
    "api:runs.api.sessions.list_events",
    "api:runs.api.snapshots.list_snapshots",
    "api:runs.api.snapshots.get_state",
    "api:runs.api.snapshots.get_timeline",
    "api:runs.api.rollouts.get_rollout",
    "api:runs.api.rollouts.get_branches",
    "api:runs.api.forks.get_lineage",
    "api:runs.api.archives.get_archive",
)

ACTIONS: dict[str, Action] = {
    "session.read": Action("rlmweb.audit.middleware", _READS, read=True),
    "context.read": Action("rlmweb.audit.middleware", ("view:runs.views.contexts.context_preview",), read=True),
    "access.deny": Action("rlmweb.audit.middleware"),
    "session.start": Action("runs.services.sessions", (*_START, *_COMMANDS)),
    "session.stop": Action(
        "runs.services.sessions", ("view:runs.views.sessions.session_stop", "api:runs.api.sessions.stop")
    ),
    "session.delete": Action(
        "runs.store.deleting", ("view:runs.views.store.session_delete", "api:runs.api.sessions.remove_session")
    ),
    "share.create": Action("runs.shares.sharing", ("view:runs.views.shares.shares",)),
    "share.revoke": Action(
        "runs.shares.sharing", ("view:runs.views.shares.revoke_one", "view:runs.views.shares.revoke_all")
    ),
    "share.open": Action(
        "runs.shares.sharing", ("view:runs.views.shared.shared", "view:runs.views.shared.shared_open")
    ),
    "session.pin": Action(
        "runs.store.pins", ("view:runs.views.store.session_pin", "api:runs.api.store.set_session_pin")
    ),
    "session.unpin": Action("runs.store.pins"),
    "snapshot.pin": Action(
        "runs.store.pins", ("view:runs.views.store.snapshot_pin", "api:runs.api.store.set_snapshot_pin")
    ),
    "snapshot.unpin": Action("runs.store.pins"),
    "session.fork": Action(
        "runs.replay.forks.starting", ("view:runs.views.fork.fork_new", "api:runs.api.forks.create_fork")
    ),
    "session.reexecute": Action(
        "runs.replay.reexecution.running",
        ("view:runs.views.reexecution.reexecution_new", "api:runs.api.forks.create_reexecution"),
    ),
    "job.stop": Action(
        "runs.services.jobs",
        (
            "view:runs.views.reexecution.reexecution_stop",
            "view:runs.views.archive.import_stop",
            "api:runs.api.forks.stop_reexecution",
        ),
    ),
    "session.export": Action(
        "runs.replay.archive.exporting",
        (
            "view:runs.views.archive.session_archive",
            "view:runs.views.rollout.rollout_export",
            "api:runs.api.archives.begin_archive",
            "command:export_session",
        ),
    ),
    "session.import": Action(
        "runs.replay.archive.importing", (*_IMPORT, "api:runs.api.archives.create_import", "command:import_session")
    ),
    "rollout.start": Action(
        "runs.replay.rollouts.starting",
        ("view:runs.views.rollout.rollout_new", "api:runs.api.rollouts.create_rollout", "command:roll_out"),
    ),
    "rollout.stop": Action(
        "runs.replay.rollouts.starting", ("view:runs.views.rollout.rollout_stop", "api:runs.api.rollouts.stop")
    ),
    "context.create": Action("runs.services.contexts", _UPLOADS),
    "credential.add": Action("runs.services.credentials", ("view:runs.views.keys.keys",)),
    "credential.delete": Action("runs.services.credentials", ("view:runs.views.keys.key_delete",)),
    "provider_account.add": Action("sandboxes.accounts.keeping", ("view:runs.views.providers.account_save",)),
    "provider_account.change": Action("sandboxes.accounts.keeping"),
    "provider_account.delete": Action("sandboxes.accounts.keeping", ("view:runs.views.providers.account_remove",)),
    "provider_order.change": Action("sandboxes.accounts.keeping", ("view:runs.views.providers.order_save",)),
    "provider_attestation.add": Action("sandboxes.accounts.keeping", ("view:runs.views.providers.attestation_add",)),
    "provider_attestation.delete": Action(
        "sandboxes.accounts.keeping", ("view:runs.views.providers.attestation_remove",)
    ),
    "catalogue_row.add": Action("sandboxes.catalogue.keeping", ("view:sandboxes.views.catalogue.catalogue_row_add",)),
    "catalogue_row.delete": Action(
        "sandboxes.catalogue.keeping", ("view:sandboxes.views.catalogue.catalogue_row_remove",)
    ),
    "token.create": Action("rlmweb.teams.tokens", ("view:runs.views.keys.token_new",)),
    "token.revoke": Action("rlmweb.teams.tokens", ("view:runs.views.keys.token_revoke",)),
    "role.give": Action("rlmweb.teams.people", ("view:rlmweb.teams.views.people.role_set", "command:add_owner")),
    "role.take": Action("rlmweb.teams.people"),
    "team.add": Action("rlmweb.teams.people", ("view:rlmweb.teams.views.people.team_add",)),
    "organisation.change": Action("rlmweb.teams.people", ("view:rlmweb.teams.views.people.second_factor",)),
    "policy.set": Action("rlmweb.teams.policies.keeping", ("view:rlmweb.teams.views.policy.policy_set",)),
    "user.time_out": Action("rlmweb.teams.policies.idling"),
    "policy.refuse": Action("rlmweb.teams.policies.enforcing"),
    "invitation.create": Action("rlmweb.teams.invitations", ("view:rlmweb.teams.views.people.invite_person",)),
    "invitation.withdraw": Action("rlmweb.teams.invitations", ("view:rlmweb.teams.views.people.invitation_withdraw",)),
    "content.grant": Action("rlmweb.teams.grants", ("view:rlmweb.teams.views.people.content_grant",)),
    "content.break_glass": Action("rlmweb.teams.grants"),
    "content.end_grant": Action("rlmweb.teams.grants", ("view:rlmweb.teams.views.people.content_end",)),
    "overview.export": Action("runs.views.overview", ("view:runs.views.overview.overview_file",)),
    "people.export": Action("rlmweb.teams.views.people", ("view:rlmweb.teams.views.people.review",)),
    "factor.add": Action("rlmweb.audit.signals"),
    "factor.remove": Action("rlmweb.audit.signals"),
    "snapshot.evaluate": Action(
        "runs.replay.inspect.evaluation",
        ("view:runs.views.snapshot.snapshot_evaluate", "api:runs.api.snapshots.evaluate_code"),
    ),
    "variable.compare": Action(
        "runs.replay.inspect.differences",
        ("view:runs.views.snapshot.snapshot_diff", "api:runs.api.snapshots.get_difference"),
    ),
    "variable.download": Action(
        "runs.replay.inspect.downloads",
        ("view:runs.views.snapshot.snapshot_download", "api:runs.api.snapshots.download_variable"),
    ),
    "store.collect": Action("runs.store.running", (*_COLLECT, "task:runs.collect_garbage")),
    "user.sign_in": Action(
        "rlmweb.audit.signals", ("view:rlmweb.teams.signin.sign_in", "view:rlmweb.teams.signin.open_installation")
    ),
    "user.sign_out": Action("rlmweb.audit.signals", ("view:django.contrib.auth.views.LogoutView",)),
    "user.sign_in_refused": Action("rlmweb.audit.signals"),
    "admin.add": Action("rlmweb.audit.signals", ("admin:changeable",)),
    "admin.change": Action("rlmweb.audit.signals", ("view:rlmweb.teams.admin.change_view",)),
    "admin.delete": Action("rlmweb.audit.signals"),
    "audit.checkpoint": Action("rlmweb.audit.checkpoints"),
    "audit.verify": Action("rlmweb.audit.views", ("view:rlmweb.audit.views.verify_chain",)),
    "audit.export": Action("rlmweb.audit.views", ("view:rlmweb.audit.views.export", "command:audit_export")),
    "audit.purge": Action("rlmweb.audit.retention", ("command:audit_keep",)),
    "audit.hold": Action("rlmweb.audit.retention"),
    "audit.release": Action("rlmweb.audit.retention"),
    "audit.erase": Action("rlmweb.audit.retention"),
    "reads.seal": Action("rlmweb.audit.reads"),
    "quota.warn": Action("rlmweb.quotas.warnings"),
    "quota.set": Action("rlmweb.quotas.setting", ("view:rlmweb.quotas.views.quota_set",)),
    "quota.remove": Action("rlmweb.quotas.setting", ("view:rlmweb.quotas.views.quota_remove",)),
    "quota.check": Action("runs.services.quota_truth", ("command:quotas",)),
    "quota.rebuild": Action("runs.management.commands.quotas"),
}

UNRECORDED: dict[str, str] = {}


def _leave(reason: str, *entrances: str) -> None:
    UNRECORDED.update(dict.fromkeys(entrances, reason))


_leave(
    "lists and forms without content of sessions",
    *(
        f"view:runs.views.{name}"
        for name in (
            "sessions.session_list",
            "sessions.session_rows",
            "start.example_preview",
            "archive.import_job",
            "overview.overview_first",
            "overview.overview_page",
            "status.status_page",
            "status.model_status",
            "store.store",
            "store.store_runs",
            "docs.guide",
            "docs.events",
            "docs.protocol",
            "docs.catalogue",
            "docs.rest_api",
            "fork.fork_changes",
            "reexecution.reexecution",
            "spending.session_spending_figure",
            "rollout.rollout_figure",
            "providers.providers",
            "providers.providers_fit",
        )
    ),
    "view:rlmweb.health.healthz",
    "view:rlmweb.quotas.views.quotas",
    "view:rlmweb.quotas.views.preview",
    "view:runs.views.quotas.session_quotas",
    "view:rlmweb.teams.signin.how_to_open",
    "view:rlmweb.teams.signin.reset_password",
    "view:rlmweb.teams.sso.leave_for_provider",
    "view:rlmweb.teams.views.people.first",
    "view:rlmweb.teams.views.people.people",
    "view:rlmweb.teams.views.policy.policy",
    "view:rlmweb.teams.views.policy.policy_preview",
    "view:rlmweb.audit.views.log",
    "view:rlmweb.audit.views.verifier",
    *(
        f"api:runs.api.{name}"
        for name in (
            "contexts.list_contexts",
            "contexts.get_context",
            "sessions.list_sessions",
            "rollouts.list_rollouts",
            "forks.get_reexecution",
            "archives.get_import",
            "installation.models",
            "installation.providers",
            "installation.examples",
            "store.get_store",
        )
    ),
)
_leave(
    "says what is published and measured of providers; holds nothing of sessions",
    "view:sandboxes.views.catalogue.catalogue",
    "view:sandboxes.views.catalogue.catalogue_provider",
    "view:sandboxes.views.catalogue.catalogue_figure",
    "view:sandboxes.views.catalogue.catalogue_export",
    "command:providers",
)
_leave("keeps or accepts an invitation; the role it gives is `role.give`", "view:rlmweb.teams.views.joining.join")
_leave(
    "goes on with the link whose opening is recorded",
    "view:runs.views.shared.shared_events",
    "view:runs.views.shared.shared_blob",
)
_leave("says that nothing is for search engines", "view:runs.views.shared.robots")
_leave("shows a stored row to the installation's operators, as the policy allows", "view:runs.admin.change_view")
_leave("lets go of an upload that never became a context", "view:runs.views.contexts.upload_cancel")
_leave(
    "asks a vendor whether a key works; what it said is kept with the key", "view:runs.views.providers.account_check"
)
_leave("goes on with what `session.start` or another entry began", "task:runs.execute_step", "task:runs.run_job")
_leave("moves the socket's own window", "ws:Ack")
_leave("goes on with the page whose read is recorded; the socket itself is not yet a read of its own", "ws:Resume")
_leave("measures throw-away installations", "command:bench")
_leave("copies contents by their hash between stores; run by who has the shell", "command:copy_blobs")
_leave("reads the log for who has the shell", "command:audit_verify")


def refuse_unknown(action: str) -> None:
    """Raises `UnknownAction`."""
    if action not in ACTIONS:
        raise UnknownAction(f"{action}: {UnknownAction.__doc__}")


def listed() -> set[str]:
    """Every entrance that somebody has thought about."""
    return {entrance for action in ACTIONS.values() for entrance in action.entrances} | UNRECORDED.keys()
