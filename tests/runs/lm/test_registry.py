"""From a model choice to its client: shared, imported late, and refused with words that help."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from runs.lm import registry
from runs.lm.base import ModelChoice, Sampling
from runs.lm.errors import LmBadRequest, LmRefusedAddress, LmUnavailable
from runs.lm.registry import BUILDERS, client_for
from runs.lm.site import Site, from_settings
from sandboxes import aio

CHOICE = ModelChoice("openai", "gpt-4o-mini")


@pytest.fixture(autouse=True)
def _no_clients_left() -> Iterator[None]:
    registry._clients.clear()
    yield
    for client in registry._clients.values():
        aio.run(client.aclose(), timeout_s=30)
    registry._clients.clear()


@pytest.mark.parametrize("api", BUILDERS)
def test_every_api_has_a_client_and_opens_no_connection(api: str, tmp_path: Path) -> None:
    name = "scripted:measure" if api == "scripted" else "a-model"
    client = client_for(ModelChoice(api, name), key="key", site=Site(data_dir=tmp_path))  # type: ignore[arg-type]
    assert callable(client.complete)


def test_the_same_choice_and_key_share_a_client() -> None:
    first = client_for(CHOICE, key="a", site=Site())
    assert client_for(ModelChoice("openai", "gpt-4o-mini"), key="a", site=Site()) is first


@pytest.mark.parametrize(
    "change",
    [
        {"choice": replace(CHOICE, model="gpt-4o")},
        {"choice": replace(CHOICE, sampling=Sampling(temperature=0.5))},
        {"choice": replace(CHOICE, extra={"retry": {"max_attempts": 1}})},
        {"key": "b"},
        {"allowed_hosts": ("elsewhere:1",)},
    ],
)
def test_another_choice_key_or_list_has_a_client_of_its_own(change: dict[str, object]) -> None:
    arguments = {"choice": CHOICE, "key": "a", "site": Site(), "allowed_hosts": ()}
    first = client_for(**arguments)  # type: ignore[arg-type]
    assert client_for(**{**arguments, **change}) is not first  # type: ignore[arg-type]


def test_the_cache_does_not_grow_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "MOST_CLIENTS", 3)
    monkeypatch.setattr(registry, "CLOSE_AFTER_S", 0.0)
    first = client_for(CHOICE, key="0", site=Site())
    for number in range(1, 10):
        client_for(CHOICE, key=str(number), site=Site())
    assert len(registry._clients) == 3
    assert client_for(CHOICE, key="0", site=Site()) is not first


def test_keys_are_not_kept_in_the_cache_key() -> None:
    client_for(CHOICE, key="sk-secret-0123456789", site=Site())
    assert "sk-secret" not in str(list(registry._clients))


def test_a_refused_address_is_refused_before_any_call() -> None:
    with pytest.raises(LmRefusedAddress):
        client_for(replace(CHOICE, base_url="http://169.254.169.254/v1"), key="a", site=Site())


def test_an_unknown_api_is_named() -> None:
    with pytest.raises(LmBadRequest, match="'telepathy'; there are openai"):
        client_for(ModelChoice("telepathy", "m"), site=Site())  # type: ignore[arg-type]


def test_without_a_data_folder_there_is_no_local_model() -> None:
    with pytest.raises(LmUnavailable, match="no data folder"):
        client_for(ModelChoice("embedded", "m"), site=Site())


def test_the_site_comes_from_the_settings() -> None:
    site = from_settings()
    assert site.data_dir is not None
    assert site.ledger_dir is None


@pytest.mark.parametrize(
    "module", ["runs.lm.registry", "runs.lm.scripted", "runs.lm.prices", "runs.lm.embedded.reporting"]
)
def test_no_sdk_is_imported_before_it_is_needed(module: str) -> None:
    """Each SDK costs a second or more of start-up, in every worker and command."""
    heavy = ("openai", "anthropic", "genai_prices", "xllamacpp")
    code = f"import sys, {module}; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
