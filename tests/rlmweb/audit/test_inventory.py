"""Nothing that can act or read is missing in the inventory."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from typing import Any, get_args, get_type_hints

from django.contrib import admin
from django.core.management import get_commands
from django.urls import URLResolver, get_resolver

from rlmweb.audit.inventory import ACTIONS, UNRECORDED, listed
from rlmweb.celery import app
from rlmweb.settings.base import ROOT_DIR
from rlmweb.teams.readonly import ReadOnlyAdmin
from runs.api.api import api
from runs.consumers import SessionConsumer

OURS = ("runs", "rlmweb", "sandboxes")


def patterns(found: Any) -> Iterator[Any]:
    for each in found:
        if isinstance(each, URLResolver):
            yield from patterns(each.url_patterns)
        else:
            yield each


def views() -> Iterator[str]:
    for pattern in patterns(get_resolver().url_patterns):
        view = getattr(pattern.callback, "view_class", pattern.callback)
        if view.__module__.startswith((*OURS, "django.contrib.auth.views")):
            yield f"view:{view.__module__}.{view.__name__}"


def operations() -> Iterator[str]:
    for _, router in api._routers:
        for path in router.path_operations.values():
            yield from (f"api:{each.view_func.__module__}.{each.view_func.__name__}" for each in path.operations)


def tasks() -> Iterator[str]:
    app.loader.import_default_modules()
    yield from (f"task:{name}" for name in app.tasks if not name.startswith("celery."))


def messages() -> Iterator[str]:
    yield from (f"ws:{each.__name__}" for each in get_args(get_type_hints(SessionConsumer._take)["message"]))


def commands() -> Iterator[str]:
    yield from (f"command:{name}" for name, where in get_commands().items() if str(where).startswith(OURS))


def admins() -> Iterator[str]:
    changeable = [each for each in admin.site._registry.values() if not isinstance(each, ReadOnlyAdmin)]
    # Django writes a LogEntry for each of their changes, and the log follows that.
    assert changeable
    yield "admin:changeable"


def everything() -> set[str]:
    return {name for found in (views, operations, tasks, messages, commands, admins) for name in found()}


def test_every_entrance_is_in_the_inventory_and_nothing_else_is() -> None:
    found = everything()
    assert sorted(found - listed()) == [], "name them in rlmweb/audit/inventory.py"
    assert sorted(listed() - found) == [], "they are gone"


def test_an_entrance_that_is_not_listed_is_noticed() -> None:
    assert "view:runs.views.sessions.session_stop" in everything()
    assert len(everything()) > 100


def test_nothing_is_both_recorded_and_left_out() -> None:
    recorded = {entrance for action in ACTIONS.values() for entrance in action.entrances}
    assert recorded & UNRECORDED.keys() == set()


def test_every_writer_names_its_action() -> None:
    for name, action in ACTIONS.items():
        path = ROOT_DIR.joinpath(*action.writer.split("."))
        file = path.with_suffix(".py") if path.with_suffix(".py").exists() else path / "__init__.py"
        texts = {node.value for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Constant)}
        verb = name.rpartition(".")[2]
        assert name in texts or verb in texts, f"{action.writer} does not write {name}"


def test_the_message_hints_are_those_that_the_socket_takes() -> None:
    assert "Resume" in inspect.getsource(SessionConsumer._take)
