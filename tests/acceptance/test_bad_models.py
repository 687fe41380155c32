"""Models that refuse, hang, lie or are not there: the session ends in a state that says what to do, and nothing stays."""

from __future__ import annotations

import json
import urllib.error

import pytest

from rlmweb.bench.outside import wait_until
from tests.acceptance.visitor import Visitor, at_endpoint, scripted, turn
from tests.runs.lm.faulty_server import FaultyServer

WRONG_KEY = "sk-test-0123456789abcdef"
QUICK = {"max_attempts": 2, "first_delay_s": 0.05, "attempt_timeout_s": 1.5, "deadline_s": 5}

# How the endpoint misbehaves: the type of the error, and words that its message must have.
FAULTS = {
    "400": ("LmBadRequest", "temperature"),
    "401": ("LmAuthFailed", "page Keys"),
    "402": ("LmOutOfCredit", "Add credit"),
    "403": ("LmAuthFailed", "page Keys"),
    "404": ("LmUnknownModel", "model's name"),
    "context": ("LmContextTooLong", "larger window"),
    "quota": ("LmOutOfCredit", "Add credit"),
    "redirect": ("LmRefusedAddress", "redirects"),
    "429": ("LmRateLimited", "Try again later"),
    "429-later": ("LmRateLimited", "Try again later"),
    "500": ("LmUnavailable", "running"),
    "503": ("LmUnavailable", "running"),
    "504": ("LmTimeout", "more time"),
    "hang": ("LmTimeout", "1.5 s"),
    "hang-in-stream": ("LmTimeout", "1.5 s"),
    "reset": ("LmUnavailable", "running"),
    "cut-body": ("LmUnavailable", "running"),
    "cut-stream": ("LmMalformedReply", "address"),
    "bad-stream": ("LmMalformedReply", "address"),
    "stream-error": ("LmUnavailable", "overloaded"),
    "gzip": ("LmMalformedReply", "compressed"),
    "endless": ("LmMalformedReply", "longer"),
    "malformed": ("LmMalformedReply", "address"),
    "html": ("LmMalformedReply", "address"),
    "null": ("LmMalformedReply", "address"),
    "empty": ("LmMalformedReply", "address"),
    "number": ("LmMalformedReply", "address"),
}


def test_sessions_whose_model_does_not_answer_fail_and_say_what_to_do(client: Visitor, endpoint: FaultyServer) -> None:
    started = {mode: client.begin(at_endpoint(endpoint.url(mode), QUICK)) for mode in FAULTS}
    for mode, uuid in started.items():
        session, (kind, words) = client.ended(uuid), FAULTS[mode]
        assert (mode, session["status"], session["error_type"]) == (mode, "failed", kind)
        assert words in session["error_message"], mode
        assert session["usage"]["lm_calls_failed"] == 1, mode
    client.goes_on()


def test_a_stored_key_that_is_wrong_is_named_and_stands_nowhere(client: Visitor, endpoint: FaultyServer) -> None:
    url = endpoint.url("401")
    credential = client.store_key("wrong", base_url=url, key=WRONG_KEY)
    uuid = client.begin(at_endpoint(url, QUICK, credential=credential))
    session = client.ended(uuid)
    assert (session["status"], session["error_type"]) == ("failed", "LmAuthFailed")
    # It was sent, and the endpoint repeated it in its answer.
    assert endpoint.requests[-1].headers["authorization"] == f"Bearer {WRONG_KEY}"
    assert WRONG_KEY not in json.dumps([session, client.events(uuid)])
    assert client.rows("SELECT count(*) FROM runs_lmcall WHERE strpos(error_message, %s) > 0", WRONG_KEY) == [(0,)]
    logs = list((client.stack.folder / "logs").glob("*.log"))
    assert len(logs) >= 3
    assert [log.name for log in logs if WRONG_KEY in log.read_text(errors="replace")] == []


@pytest.mark.parametrize("api", ["openai", "anthropic"])
def test_an_endpoint_that_is_down_is_named_as_such(client: Visitor, closed_port: int, api: str) -> None:
    uuid = client.begin(at_endpoint(f"http://127.0.0.1:{closed_port}/v1", QUICK, api=api))
    session = client.ended(uuid)
    assert (session["status"], session["error_type"]) == ("failed", "LmUnavailable")
    assert "running" in session["error_message"]


@pytest.mark.parametrize("mode", ["429-then-ok", "503-then-ok", "cut-stream-then-ok", "reset-then-ok"])
def test_a_fault_that_passes_is_only_seen_in_the_number_of_attempts(
    client: Visitor, endpoint: FaultyServer, mode: str
) -> None:
    model = at_endpoint(endpoint.url(mode), {"max_attempts": 4, "first_delay_s": 0.02})
    uuid = client.begin(model, max_steps_per_node=1)
    session = client.ended(uuid)
    # The endpoint answers with words and no code, so the only step is followed by the question for a final answer.
    assert (session["status"], session["answer"], session["error_type"]) == ("limited", "The answer is 42.", "")
    attempts = [event.get("attempts", 1) for event in client.events(uuid) if event["type"] == "lm.finished"]
    assert attempts == [3, 1]


def test_a_failing_sub_model_is_an_error_that_the_code_sees(client: Visitor, endpoint: FaultyServer) -> None:
    code = "answer['content'] = chr(10).join(llm_query_batched(['a', 'b', 'c'])); answer['ready'] = True"
    for mode, words in (("401", "page Keys"), ("malformed", "address"), ("hang", "1.5 s")):
        uuid = client.begin(scripted(turn(None, code)), sub=at_endpoint(endpoint.url(mode), QUICK))
        session = client.ended(uuid)
        lines = session["answer"].splitlines()
        assert session["status"] == "finished"
        assert len(lines) == 3
        assert all(line.startswith("Error: ") and words in line for line in lines), mode
        assert session["usage"]["lm_calls_failed"] == 3


def test_what_an_endpoint_claims_of_usage_and_says_in_bad_characters_is_not_believed(
    client: Visitor, endpoint: FaultyServer
) -> None:
    for mode in ("odd-usage", "hostile-text"):
        uuid = client.begin(at_endpoint(endpoint.url(mode), QUICK), max_steps_per_node=1)
        session = client.ended(uuid)
        assert session["status"] == "limited"
        assert 0 <= session["usage"]["cost_micro_usd"] < 10**9
        assert 0 <= session["usage"]["input_tokens"] < 10**6
        assert "\0" not in session["answer"]


def test_a_session_can_be_stopped_while_its_model_hangs(client: Visitor, endpoint: FaultyServer) -> None:
    endpoint.closed_early.clear()
    uuid = client.begin(at_endpoint(endpoint.url("hang-in-stream")))
    client.wait_for_events(uuid, "lm.output")
    assert client.call("POST", f"/sessions/{uuid}/stop", {}) == {"stopped": True}
    assert client.session(uuid)["status"] == "stopped"
    assert client.faults(uuid) == []
    wait_until("the worker hangs up", endpoint.closed_early.is_set, 20)
    client.goes_on()


def test_hanging_models_do_not_keep_others_from_their_workers_for_ever(client: Visitor, endpoint: FaultyServer) -> None:
    # More of them than the worker has threads.
    hanging = [client.begin(at_endpoint(endpoint.url("hang"), QUICK)) for _ in range(8)]
    client.goes_on()
    for uuid in hanging:
        assert client.ended(uuid)["error_type"] == "LmTimeout"


def test_addresses_off_the_allow_list_are_refused_before_anything_starts(client: Visitor) -> None:
    for url in ("http://169.254.169.254/v1", "http://127.0.0.1:22/v1", "http://localhost/v1", "file:///etc/passwd"):
        with pytest.raises(urllib.error.HTTPError) as refused:
            client.begin(at_endpoint(url))
        assert refused.value.code == 422
        assert "invalid_config" in "".join(refused.value.__notes__)
