#!/usr/bin/env python3
"""One door for every command: `up` runs the whole application, `test` runs every check, the rest are Django's
commands.

Works from a plain Python: the environment in .venv is made and kept in step with the lock file before
anything else.
"""

import sys

if sys.version_info < (3, 11):  # noqa: UP036 - the message is for whoever has an older one
    sys.exit("rlmweb needs Python 3.11 or newer; this is " + sys.version.split()[0])


def main(arguments: list[str]) -> int:
    from rlmweb.boot.environment import BootstrapFailed, ensure

    try:
        ensure(arguments)
    except BootstrapFailed as error:
        print(f"rlmweb: {error}", file=sys.stderr)
        return 1
    command, rest = (arguments[0], arguments[1:]) if arguments else ("help", [])
    if command == "up":
        from rlmweb.boot.up import main as up

        return up(rest)
    if command == "test":
        from rlmweb.boot.testing import main as test

        return test(rest)
    return django(arguments)


def django(arguments: list[str]) -> int:
    import os

    from django.core.management import execute_from_command_line

    from rlmweb.boot.attach import NothingRuns, data_services
    from rlmweb.boot.children import ChildFailed
    from rlmweb.boot.embedded import EmbeddedError
    from rlmweb.boot.installation import AlreadyRunning

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "rlmweb.settings.dev")
    try:
        with data_services("help" if not arguments or "--help" in arguments else arguments[0]):
            execute_from_command_line(["manage.py", *arguments])
    except (AlreadyRunning, ChildFailed, EmbeddedError, NothingRuns) as error:
        print(f"rlmweb: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
