"""A site full of made-up sessions to look at: `python -m tests.browser.serve [folder]`.

Prints the addresses and the cookie of somebody who may see them; ends with Ctrl-C. With a folder it also writes
`site.json` there. The services and the data are thrown away at the end.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

os.environ["DJANGO_SETTINGS_MODULE"] = "rlmweb.settings.test"

from tests import services


def main() -> None:
    services.start_missing_services()
    try:
        import django

        django.setup()
        _serve(Path(sys.argv[1]) if len(sys.argv) > 1 else None)
    finally:
        services.pytest_unconfigure()


def _serve(folder: Path | None) -> None:
    from django.core.management import call_command

    from tests.factories import make_team, make_user
    from tests.live import running_site

    call_command("migrate", verbosity=0)
    team = make_team(slug="demo", name="Demo")
    user = make_user(team, "lead", username="ada")
    paths = _seed(team, user)
    with running_site(Path(os.environ["RLMWEB_DATA_DIR"])) as site:
        found: dict[str, Any] = {"cookie": site.cookie(user), "log": str(site.log)}
        found["pages"] = {name: f"{site.address}{path}" for name, path in paths.items()}
        text = json.dumps(found, indent=2)
        print(text, flush=True)  # noqa: T201
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "site.json").write_text(text)
        signal.sigwait({signal.SIGINT, signal.SIGTERM})


def _seed(team: Any, user: Any) -> dict[str, str]:
    from tests.factories import make_session
    from tests.recorded import make_recorded_session
    from tests.trajectories import fixtures, grown

    logs = fixtures()
    for nodes in (10, 1000, 10_000):
        logs[f"nodes-{nodes}"] = grown(nodes, leaves=2 if nodes < 5000 else 0)
    paths = {}
    for name, log in logs.items():
        started = getattr(log.events[0][1], "question", name)
        question = started if isinstance(started, str) else name
        session = make_recorded_session(log, team, created_by=user, title=question[:120], question=question)
        paths[name] = f"/sessions/{session.uuid}/"
    empty = make_session(team, created_by=user, question="Nothing has happened yet")
    return {**paths, "empty": f"/sessions/{empty.uuid}/", "list": "/"}


if __name__ == "__main__":
    main()
