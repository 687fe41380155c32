"""Forty forbidden acts at five entrances: 200 of 200 are refused, and each refusal stands in the audit log.

Where an act has a real entrance, the act is tried through it (`THROUGH`). Where it has none (nothing is exported by a task,
no message of the websocket starts a session), what that entrance would have to ask is asked in its name: `require`, the
one choke point. `test_how_many_are_tried_through_the_entrance_itself` holds the share of real ones.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.urls import reverse

from rlmweb.audit.models import AuditEntry
from rlmweb.teams.models import OrganisationPolicy
from rlmweb.teams.policies.enforcing import PolicyRefused, require
from rlmweb.teams.policies.facts import Act
from runs.access import Actor
from runs.models import Job, Node, Rollout, Session, Step
from runs.replay.reexecution.running import REEXECUTE
from runs.services.config import config_to_plain
from runs.services.execution import execute_step
from runs.services.jobs import run_job
from runs.services.policy_facts import facts_of_session
from tests.cast import Cast, make_cast
from tests.factories import make_session
from tests.rlmweb.teams.policies.forbidden import FORBIDDEN, Forbidden
from tests.streaming.sockets import Closed, open_socket

ENTRANCES = {
    "http": ("web", "api"),
    "websocket": ("websocket",),
    "admin": ("admin",),
    "task": ("worker",),
    "command": ("cli",),
}
"""Entrance -> its sources in the audit log."""
JSON = "application/json"


@dataclass(frozen=True)
class Scene:
    case: Forbidden
    cast: Cast
    session: Session

    @property
    def researcher(self) -> Any:
        return self.cast.people["researcher"]


def scene_of(case: Forbidden) -> Scene:
    cast = make_cast()
    policy = {"data_class": case.data_class} if case.data_class else {}
    config = config_to_plain(case.config)
    session = make_session(cast.team, created_by=cast.people["researcher"], config=config, policy=policy)
    node = Node.objects.create(session=session, number=0, depth=0)
    Step.objects.create(session=session, node=node, number=1)
    OrganisationPolicy.objects.create(
        organisation=cast.team.organisation, version=1, profile="open", document=case.document
    )
    return Scene(case, cast, session)


# The entrances ----------------------------------------------------------------------------------------------------------


def fork_by_api(scene: Scene) -> None:
    response = scene.cast.client("researcher").post(f"/api/v1/sessions/{scene.session.uuid}/forks", {"step": 0}, JSON)
    assert (response.status_code, response.json()["type"]) == (403, "policy_refused"), response.content
    assert Session.objects.filter(forked_from=scene.session).count() == 0


def reexecute_by_api(scene: Scene) -> None:
    address = f"/api/v1/sessions/{scene.session.uuid}/reexecutions"
    response = scene.cast.client("researcher").post(address, {}, JSON)
    assert (response.status_code, Job.objects.count()) == (403, 0), response.content


def export_by_api(scene: Scene) -> None:
    reason = scene.case.facts.get("reason", "")
    address = f"/api/v1/sessions/{scene.session.uuid}/archive"
    assert scene.cast.client("researcher").get(address, {"reason": reason}).status_code == 403


def second_factor_by_page(scene: Scene) -> None:
    organisation = scene.cast.team.organisation
    address = reverse("teams:second_factor", args=[organisation.slug])
    assert scene.cast.client("owner").post(address, {"required": "no"}).status_code == 403


def session_in_admin(scene: Scene) -> None:
    page = scene.cast.client("superuser").get(reverse("admin:runs_session_change", args=[scene.session.pk]))
    assert page.status_code == 403
    assert scene.session.question.encode() not in page.content


def organisation_in_admin(scene: Scene) -> None:
    organisation = scene.cast.team.organisation
    type(organisation).objects.filter(pk=organisation.pk).update(require_mfa=True)
    address = reverse("admin:teams_organisation_change", args=[organisation.pk])
    assert scene.cast.client("superuser").post(address, {"name": "x", "slug": "x"}).status_code == 403
    organisation.refresh_from_db()
    assert organisation.require_mfa


def step_by_task(scene: Scene) -> None:
    execute_step(Step.objects.get(session=scene.session).uuid)
    scene.session.refresh_from_db()
    assert (scene.session.status, scene.session.error_type) == (Session.Status.STOPPED, "PolicyRefused")


def reexecution_by_task(scene: Scene) -> None:
    args = {"node": None, "subtree": True, "after": 0, "upto": None, "freeze_time": False, "seed": None}
    team, session = scene.cast.team, scene.session
    job = Job.objects.create(kind=REEXECUTE, team=team, session=session, created_by=scene.researcher, args=args)
    run_job(job.uuid)
    job.refresh_from_db()
    assert (job.status, job.error_type) == (Job.Status.FAILED, "JobRefused")


def roll_out_by_command(scene: Scene) -> None:
    asked = ("--step", "0", "--branches", "1", "--expected", "done", "--user", scene.researcher.username)
    with pytest.raises(CommandError, match="Rule:"):
        call_command("roll_out", str(scene.session.uuid), *asked)
    assert Rollout.objects.count() == 0


def export_by_command(scene: Scene) -> None:
    asked = ("--reason", scene.case.facts.get("reason", ""), "--user", scene.researcher.username, "--output", "-")
    with pytest.raises(CommandError, match="Say why"):
        call_command("export_session", str(scene.session.uuid), *asked)


def purge_by_command(scene: Scene) -> None:
    chain = str(scene.cast.team.organisation.uuid)
    with pytest.raises(CommandError, match="2192 days"):
        call_command("audit_keep", "purge", "--chain", chain, "--days", "30", "--actor", "root")


def look_by_websocket(scene: Scene) -> None:
    """In a test of its own: the socket has threads and connections of its own."""

    async def look() -> int:
        async with open_socket(scene.session, scene.researcher) as socket:
            await socket.say(type="resume", after=0)
            with pytest.raises(Closed) as closed:
                await socket.hear()
        return closed.value.code

    assert asyncio.run(look()) == 4401


Attempt = Callable[[Scene], None]
THROUGH: dict[tuple[Act, str], Attempt] = {
    (Act.STEP, "http"): fork_by_api,
    (Act.STEP, "task"): step_by_task,
    (Act.STEP, "command"): roll_out_by_command,
    (Act.EVALUATE, "http"): reexecute_by_api,
    (Act.EVALUATE, "task"): reexecution_by_task,
    (Act.EXPORT, "http"): export_by_api,
    (Act.EXPORT, "command"): export_by_command,
    (Act.LOOK, "websocket"): look_by_websocket,
    (Act.LOOK, "admin"): session_in_admin,
    (Act.LOWER_FACTOR, "http"): second_factor_by_page,
    (Act.LOWER_FACTOR, "admin"): organisation_in_admin,
    (Act.PURGE, "command"): purge_by_command,
}
"""What runs a session's configuration is tried as what each entrance has: a fork, a step, a rollout."""


def ask(scene: Scene, source: str) -> None:
    case = scene.case
    with pytest.raises(PolicyRefused):
        require(case.act, facts_of_session(scene.session, Actor(scene.researcher, source), **case.facts))


def attempt(case: Forbidden, entrance: str) -> None:
    """Try it, and look for its one entry in the log."""
    scene = scene_of(case)
    through = THROUGH.get((case.act, entrance))
    if through is not None:
        through(scene)
    else:
        ask(scene, ENTRANCES[entrance][0])
    entry = AuditEntry.objects.get(action="policy.refuse")
    assert (entry.outcome, entry.document["details"]["rule"]) == ("denied", case.rule)
    assert entry.source in ENTRANCES[entrance]
    assert entry.chain == scene.cast.team.organisation.uuid
    assert entry.document["policy"].startswith("open/1")


GRID = [
    pytest.param(case, entrance, id=f"{entrance}: {case.name}")
    for case in FORBIDDEN
    for entrance in ENTRANCES
    if THROUGH.get((case.act, entrance)) is not look_by_websocket
]


@pytest.mark.django_db
@pytest.mark.parametrize(("case", "entrance"), GRID)
def test_what_is_forbidden_is_refused_and_recorded(case: Forbidden, entrance: str) -> None:
    attempt(case, entrance)


@pytest.mark.django_db(transaction=True)
def test_a_look_that_is_forbidden_is_refused_by_the_socket_and_recorded() -> None:
    attempt(next(case for case in FORBIDDEN if case.act is Act.LOOK), "websocket")


def test_the_grid_is_forty_times_five() -> None:
    assert len({case.name for case in FORBIDDEN}) == 40
    assert len(GRID) + 1 == 200


def test_how_many_are_tried_through_the_entrance_itself() -> None:
    assert sum((case.act, entrance) in THROUGH for case in FORBIDDEN for entrance in ENTRANCES) == 69


@pytest.mark.django_db
@pytest.mark.parametrize("case", FORBIDDEN, ids=lambda case: case.name)
def test_under_the_profile_open_the_same_act_is_allowed(case: Forbidden) -> None:
    """Else the grid would prove nothing: it is the rule that refuses."""
    scene = scene_of(case)
    if case.data_class:
        Session.objects.filter(pk=scene.session.pk).update(policy={})
        scene.session.refresh_from_db()
    OrganisationPolicy.objects.all().delete()
    require(case.act, facts_of_session(scene.session, Actor(scene.researcher, "web"), **case.facts))
    assert not AuditEntry.objects.filter(action="policy.refuse").exists()
