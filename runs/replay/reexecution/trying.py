"""The cause of a difference by trying: the step alone, twice under each condition. The one under which both agree is it."""

from __future__ import annotations

import logging
from collections.abc import Iterator

from runs.replay.reexecution.causes import RANDOMNESS, TIME, names_in, said
from runs.replay.reexecution.cells import Comparison
from runs.replay.reexecution.starts import Options, open_start, own_options, stretches
from runs.replay.reexecution.steps import NodeSteps, Place, RecordedStep
from sandboxes.errors import SandboxError

logger = logging.getLogger(__name__)

MOST_MS = 5_000.0
"""A step that took longer is not tried: up to eight more executions are made."""
CLOCK = 1_700_000_000.0
SEED = 1
REPEATS = "changed: the code repeats itself here, so its state or its record is not what it was when it ran"
BEFORE = (
    "hidden state: begun from its own snapshot the step does what is on record, so something before it differed unseen,"
    " such as the state of a generator of random numbers"
)


def cause_by_trying(steps: NodeSteps, step: RecordedStep, options: Options) -> str:
    """Empty when no condition makes the step repeat itself, or when it cannot be begun alone."""
    try:
        first, second = _twice(steps, step, options)
        if not first.findings:
            return said(RANDOMNESS) if names_in(step.code) & RANDOMNESS.names else BEFORE
        if first.did == second.did:
            return REPEATS
        for condition, cause in _conditions(options.over(own_options(steps.node, step.number))):
            one, other = _twice(steps, step, condition)
            if one.did == other.did:
                return cause
    except SandboxError as error:
        logger.info("the cause is not found by trying: %s", error)
    return ""


def _conditions(options: Options) -> Iterator[tuple[Options, str]]:
    """What is not fixed yet, one by one and together."""
    if options.clock is None:
        yield Options(CLOCK, options.seed), said(TIME)
    if options.seed is None:
        yield Options(options.clock, SEED), said(RANDOMNESS)
    if options.clock is None and options.seed is None:
        yield Options(CLOCK, SEED), "time and randomness: the code looks at the clock and draws at random"


def _twice(steps: NodeSteps, step: RecordedStep, options: Options) -> tuple[Comparison, Comparison]:
    return _try(steps, step, options), _try(steps, step, options)


def _try(steps: NodeSteps, step: RecordedStep, options: Options) -> Comparison:
    [alone] = stretches(steps.node, step.number - 1, step.number)
    with open_start(steps.node, alone, options) as (box, start):
        return steps.execute(Place.begun(box, start), step)[0]
