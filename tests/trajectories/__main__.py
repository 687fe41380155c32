"""Write the shared fixtures: `python -m tests.trajectories`."""

from __future__ import annotations

from tests.trajectories import FOLDER, fixtures


def main() -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, log in fixtures().items():
        text = "".join(line + "\n" for line in log.lines())
        (FOLDER / f"{name}.jsonl").write_text(text)


if __name__ == "__main__":
    main()
