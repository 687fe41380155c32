"""What a session is started with: models, provider, limits. Plain data, stored with the session."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

from runs.engine.limits import Limits
from runs.engine.state import ToolInfo
from sandboxes.needs import Needs

SnapshotPolicy = Literal["every", "last", "off"]
"""Of which steps of a node snapshots are taken."""
MAX_CLOCK_S = 253_000_000_000
"""Unix time in the year 9987: calendars of Python end soon after."""
MAX_SEED = 2**63 - 1


class SamplingConfig(msgspec.Struct, frozen=True, omit_defaults=True):
    temperature: float | None = None
    top_p: float | None = None
    max_output_tokens: int | None = None
    seed: int | None = None


class ModelConfig(msgspec.Struct, frozen=True, omit_defaults=True):
    """One model at one endpoint. `credential` is the uuid of the team's key; `extra` is specific to the API."""

    api: Literal["openai", "anthropic", "gemini", "embedded", "scripted"]
    model: str
    base_url: str = ""
    credential: str = ""
    profile: Literal["standard", "small"] = "standard"
    sampling: SamplingConfig = SamplingConfig()
    context_window_tokens: int = 128_000
    extra: dict[str, Any] = {}

    @property
    def honest_label(self) -> str:
        """What the UI must call it, or nothing for a model that is what its name says."""
        return {"scripted": "scripted", "embedded": "local model"}.get(self.api, "")


class Determinism(msgspec.Struct, frozen=True, omit_defaults=True):
    """What makes code repeatable. `clock`: Unix time at which the clocks of each sandbox start; `seed`: of everything
    that it draws by chance. None: as they come."""

    clock: Annotated[float, msgspec.Meta(ge=0, le=MAX_CLOCK_S)] | None = None
    seed: Annotated[int, msgspec.Meta(ge=0, le=MAX_SEED)] | None = None


class SessionConfig(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """`sub` answers `llm_query` and is the model of child nodes' sub-calls; None means the same as `root`."""

    root: ModelConfig
    sub: ModelConfig | None = None
    limits: Limits = Limits()
    provider: str = "local"
    fallback: tuple[str, ...] = ()
    """Providers to go to, in this order, when that one has no room."""
    sandbox: Needs = Needs()
    """What the sandboxes have to be, beside the memory that the limits name."""
    tier: str = ""
    tools: tuple[ToolInfo, ...] = ()
    system_prompt: str | None = None
    compaction: bool = True
    snapshots: SnapshotPolicy = "every"
    determinism: Determinism = Determinism()
    example: str = ""
    """Slug and seed of the example task this session runs, so that its answer can be checked."""

    @property
    def sub_model(self) -> ModelConfig:
        return self.sub or self.root

    @property
    def labels(self) -> list[str]:
        """Honest words for the UI, without repetition."""
        words = (self.root.honest_label, self.sub_model.honest_label)
        return list(dict.fromkeys(word for word in words if word))


class InvalidConfig(ValueError):
    """The configuration of a session is not valid; the message names the field."""


def config_from_plain(plain: object) -> SessionConfig:
    """Raises `InvalidConfig`."""
    try:
        return msgspec.convert(plain, SessionConfig)
    except msgspec.ValidationError as error:
        raise InvalidConfig(str(error)) from error


def config_to_plain(config: SessionConfig) -> dict[str, Any]:
    plain = msgspec.to_builtins(config)
    assert isinstance(plain, dict)
    return plain
