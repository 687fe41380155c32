"""Models that a session can be started with, and what each needs to be known by: the one list of pages and commands."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, cast

from runs.lm.embedded import status
from runs.lm.embedded.known import DEFAULT
from runs.models import LmCredential
from runs.services.config import InvalidConfig, ModelConfig

EMBEDDED = "embedded"
SCRIPTED = "scripted:"
KEY = "key:"
EMBEDDED_CONTEXT_TOKENS = 8_192
TOUR = "scripted:tour"
SCORING = "scripted:score_chunks"
KeyApi = Literal["openai", "anthropic", "gemini"]
API_NAMES: dict[str, str] = {
    "openai": "OpenAI or compatible (vLLM, Ollama, OpenRouter, llama.cpp...)",
    "anthropic": "Anthropic",
    "gemini": "Google Gemini",
}


@dataclass(frozen=True, slots=True)
class Option:
    """One choice of a form. `needs_model`: the name of a model has to be given with it."""

    value: str
    label: str
    group: str
    needs_model: bool = False


def options(credentials: list[LmCredential]) -> list[Option]:
    """What a person with these keys can choose, the model that needs no key first."""
    found = [Option(EMBEDDED, f"{DEFAULT.name} (local model)", "On this machine, no key needed")]
    found += [
        Option(f"{KEY}{credential.uuid}", f"{credential.name} {credential.key_hint}".strip(), "Your team's keys", True)
        for credential in credentials
    ]
    found.append(Option(SCORING, "Score chunks (scripted, for the example of that name: no model, $0)", "Not a model"))
    found.append(Option(TOUR, "Guided tour (scripted: no model, $0)", "Not a model"))
    return found


def embedded_model() -> ModelConfig:
    return ModelConfig(
        api="embedded", model=DEFAULT.name, profile="small", context_window_tokens=EMBEDDED_CONTEXT_TOKENS
    )


def scripted_model(name: str) -> ModelConfig:
    return ModelConfig(api="scripted", model=name)


def key_model(credential: LmCredential, model: str) -> ModelConfig:
    return ModelConfig(
        api=cast("KeyApi", credential.api), model=model, base_url=credential.base_url, credential=str(credential.uuid)
    )


def model_named(value: str, model: str, credentials: list[LmCredential]) -> ModelConfig:
    """The model that a form's choice names. Raises `InvalidConfig` with a message for the person who chose."""
    if value == EMBEDDED:
        return embedded_model()
    if value.startswith(SCRIPTED):
        return scripted_model(value)
    for credential in credentials:
        if value == f"{KEY}{credential.uuid}":
            if not model.strip():
                raise InvalidConfig(f"Name the model to use at {credential.name}, for example {_hint(credential.api)}.")
            return key_model(credential, model.strip())
    raise InvalidConfig("This model is not one of your choices (any more). Choose another.")


def default_choice() -> str:
    """The local model when it can answer now, else the tour: a first session should show something at once."""
    return EMBEDDED if status()["state"] == "ready" else TOUR


def _hint(api: str) -> str:
    return {"openai": "gpt-5-mini", "anthropic": "claude-sonnet-4-5", "gemini": "gemini-2.5-flash"}.get(api, "a name")
