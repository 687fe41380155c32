"""docker-compose.yml as the tests read it: variables filled in; command, environment and health check of each service."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import yaml

from rlmweb.boot.paths import ROOT_DIR

COMPOSE_FILE = ROOT_DIR / "docker-compose.yml"
VARIABLE = re.compile(r"\$\{(\w+)(?::([-?])([^}]*))?\}")


@dataclass(frozen=True)
class Service:
    name: str
    command: list[str]
    environment: dict[str, str]
    health: list[str]
    raw: dict[str, Any]


def fill_in(text: str, variables: dict[str, str]) -> str:
    """What compose does with ${NAME}, ${NAME:-default} and ${NAME:?message}."""

    def value(found: re.Match[str]) -> str:
        name, kind, rest = found.groups()
        if variables.get(name):
            return variables[name]
        if kind == "?":
            raise KeyError(f"{name}: {rest}")
        return rest if kind == "-" else ""

    return VARIABLE.sub(value, text)


def services(variables: dict[str, str]) -> dict[str, Service]:
    document = yaml.safe_load(fill_in(COMPOSE_FILE.read_text(), variables))
    return {name: parse(name, raw) for name, raw in document["services"].items()}


def parse(name: str, raw: dict[str, Any]) -> Service:
    test = raw.get("healthcheck", {}).get("test", [])
    assert not test or test[0] == "CMD", f"{name}: a health check without a shell"
    # Compose fills variables in after it has read the file: an empty one is an empty text, and not nothing.
    given = raw.get("environment", {}).items()
    environment = {key: "" if value is None else str(value) for key, value in given}
    return Service(name, [str(word) for word in raw.get("command", [])], environment, test[1:], raw)
