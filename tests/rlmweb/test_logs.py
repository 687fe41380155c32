from __future__ import annotations

import io
import json
import logging

import pytest

from rlmweb.settings.logs import REDACTED, JsonFormatter


@pytest.fixture
def log() -> tuple[logging.Logger, io.StringIO]:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter())
    logger = logging.Logger("rooms")
    logger.addHandler(handler)
    return logger, stream


def test_a_record_is_one_line_with_its_ids(log: tuple[logging.Logger, io.StringIO]) -> None:
    logger, stream = log
    logger.warning("two\nlines of %s", "text", extra={"session": "s1", "step": 4})
    (line,) = stream.getvalue().splitlines()
    found = json.loads(line)
    assert (found["event"], found["level"], found["logger"]) == ("two\nlines of text", "warning", "rooms")
    assert (found["session"], found["step"]) == ("s1", 4)
    assert found["at"].endswith("+00:00")


def test_secrets_and_prompts_are_never_written(log: tuple[logging.Logger, io.StringIO]) -> None:
    logger, stream = log
    logger.error("failed", extra={"prompt": "my secret", "api_key": "my secret", "node": 1})
    assert "my secret" not in stream.getvalue()
    assert json.loads(stream.getvalue())["api_key"] == REDACTED


def test_an_exception_and_an_odd_value_fit_in_the_line(log: tuple[logging.Logger, io.StringIO]) -> None:
    logger, stream = log
    try:
        raise ValueError("broken")
    except ValueError:
        logger.exception("caught", extra={"odd": {1, 2}})
    (line,) = stream.getvalue().splitlines()
    assert "ValueError: broken" in json.loads(line)["exception"]
