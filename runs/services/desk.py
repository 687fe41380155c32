"""The model desk: sends a driver's LM calls on the background loop and hands back what became of them."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass

from runs.engine.io import Ask
from runs.lm.base import LmReply, LmRequest, Message, ModelChoice, OnText, Sampling
from runs.lm.errors import LmError
from runs.lm.registry import builder
from runs.services.config import ModelConfig, SessionConfig
from runs.services.endpoints import Endpoint, endpoint_for
from runs.services.limits import Reservation
from sandboxes import aio

DEFAULT_OUTPUT_TOKENS = 4_096
"""Reserved for the reply of a call that sets no maximum of its own."""
CHARS_PER_TOKEN = 3
"""Low on purpose: a reservation should not be too small."""


@dataclass(frozen=True, slots=True)
class Wrote:
    """More of a streaming reply."""

    number: int
    text: str


@dataclass(frozen=True, slots=True)
class Answered:
    """The outcome of one call: exactly one of `reply` and `error` is set."""

    number: int
    reply: LmReply | None
    error: BaseException | None
    duration_ms: int


class UnknownModel(LmError):
    """The code asked for a model that this session does not have."""


class ModelDesk:
    """Calls of one node. `put` receives `Wrote` and `Answered`, from the background loop's thread.

    Calls are known by their number in the session: places in a step (`c1`...) come again with every cell, and the answer
    to a call that was left out must not be taken for that of a later one.
    """

    def __init__(self, config: SessionConfig, team_id: int, put: Callable[[Wrote | Answered], None]) -> None:
        self._config = config
        self._team_id = team_id
        self._endpoints: dict[int, Endpoint] = {}
        self._put = put
        self._open: dict[int, Future[LmReply]] = {}

    def model_for(self, ask: Ask) -> ModelConfig:
        """The model of the session that serves `ask`. Raises `UnknownModel`."""
        models = {"root": self._config.root, "sub": self._config.sub_model}
        if ask.model is None:
            return models[ask.role]
        for model in (self._config.sub_model, self._config.root):
            if ask.model == model.model:
                return model
        names = ", ".join(dict.fromkeys(model.model for model in models.values()))
        raise UnknownModel(f"this session has no model {ask.model[:100]!r}; it has {names}")

    def endpoint(self, model: ModelConfig) -> Endpoint:
        """Where `model` is reached. Raises `LmError`."""
        found = self._endpoints.get(id(model))
        if found is None:
            found = self._endpoints[id(model)] = endpoint_for(choice_of(model), self._team_id)
        return found

    def reservation(self, ask: Ask, model: ModelConfig) -> Reservation:
        """The most that the call may use, by a cautious estimate of its prompt."""
        output_tokens = ask.max_output_tokens or model.sampling.max_output_tokens or DEFAULT_OUTPUT_TOKENS
        input_tokens = sum(len(message.content) for message in ask.messages) // CHARS_PER_TOKEN
        micro_usd = self.endpoint(model).estimate_micro_usd(input_tokens, output_tokens)
        return Reservation(input_tokens + output_tokens, micro_usd or 0, output_tokens)

    def start(self, number: int, ask: Ask, model: ModelConfig, name: str, depth: int, *, stream: bool) -> None:
        """Send the call. `name` identifies it for the API's logs and the scripted model."""
        request = LmRequest(
            messages=tuple(Message(message.role, message.content) for message in ask.messages),
            sampling=_sampling(model, ask),
            key=name,
            kind=ask.kind,
            depth=depth,
            extra={**model.extra, **ask.extra},
        )
        # Importing a vendor's SDK takes seconds: not on the loop, where all other calls and sandboxes would wait for it.
        builder(model.api)
        started = time.monotonic()
        on_text = (lambda text: self._put(Wrote(number, text))) if stream else None
        future = aio.submit(self._complete(model, request, on_text))
        self._open[number] = future
        future.add_done_callback(lambda done: self._done(number, done, started))

    def cancel(self, number: int) -> None:
        """Nobody waits for this call any more. Its answer may be on its way already."""
        future = self._open.pop(number, None)
        if future is not None:
            future.cancel()

    def abandon(self) -> None:
        """Cancel what is still out; nothing is put any more."""
        for future in list(self._open.values()):
            future.cancel()
        self._open.clear()

    async def _complete(self, model: ModelConfig, request: LmRequest, on_text: OnText | None) -> LmReply:
        return await self.endpoint(model).client().complete(request, on_text)

    def _done(self, number: int, future: Future[LmReply], started: float) -> None:
        if self._open.pop(number, None) is None:
            return
        duration_ms = int((time.monotonic() - started) * 1000)
        if future.cancelled():
            return
        error = future.exception()
        if error is None:
            self._put(Answered(number, future.result(), None, duration_ms))
        else:
            self._put(Answered(number, None, error, duration_ms))


def choice_of(model: ModelConfig) -> ModelChoice:
    return ModelChoice(
        api=model.api,
        model=model.model,
        base_url=model.base_url,
        credential=model.credential,
        profile=model.profile,
        sampling=_sampling(model, None),
        extra=model.extra,
    )


def _sampling(model: ModelConfig, ask: Ask | None) -> Sampling:
    """The model's own settings; what the engine asks for this call is a maximum or a hint where the model has none."""
    own = model.sampling
    hints = ask.extra if ask is not None else {}
    temperature = own.temperature if own.temperature is not None else hints.get("temperature")
    return Sampling(
        temperature=temperature if isinstance(temperature, int | float) else None,
        top_p=own.top_p,
        max_output_tokens=(ask.max_output_tokens if ask is not None else None) or own.max_output_tokens,
        seed=own.seed,
    )
