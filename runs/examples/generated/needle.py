"""S-NIAH: one needle in a haystack of prose.

Alike in task to the single needle of RULER (https://arxiv.org/abs/2404.06654), which the RLM paper also uses: a number
is stated once, somewhere, and asked for. Different: the haystack is made of random sentences and not of essays; the
kind `needle-among-others` hides codes of other places as well, `needle-reworded` states the fact in other words than
the question.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

from runs.examples.answers import NumberAnswer
from runs.examples.types import Example, Order, Task

_SIZE_BYTES = 1_000_000
_OTHERS = 24
_WHO = (
    "The ferryman", "A clerk", "The baker", "Our neighbour", "The lamplighter", "A young surveyor", "The gardener",
    "My aunt", "The night porter", "A retired captain", "The bookbinder", "The miller", "A travelling tuner",
)  # fmt: skip
_DID = (
    "carried the ledgers to", "waited an hour at", "painted the shutters of", "walked twice around", "wrote a letter about",
    "remembered the old days at", "swept the steps of", "counted the windows of", "complained about", "drew a map of",
)  # fmt: skip
_WHERE = (
    "the corn exchange", "the upper landing", "the winter garden", "the tram depot", "the chapel yard", "the glass works",
    "the long pier", "the assembly rooms", "the walled orchard", "the signal box", "the tannery", "the south gate",
)  # fmt: skip
_WHEN = (
    "before the rain set in", "while the bells were ringing", "late on a Tuesday", "in the week after the fair",
    "without saying a word", "as the fog came up", "for the third time that month", "though nobody had asked",
    "until the lamps were lit", "when the market had closed",
)  # fmt: skip
_FIRST = (
    "Marlow",
    "Tarn",
    "Selby",
    "Orrin",
    "Hale",
    "Brant",
    "Calder",
    "Denholm",
    "Elstow",
    "Farrow",
    "Garth",
    "Inver",
)
_SECOND = ("archive", "boathouse", "cellar", "depot", "granary", "kiln", "library", "mill", "observatory", "vault")


def build(order: Order) -> Task:
    rng = random.Random(f"needle {order.question_kind} {order.seed}")
    places = rng.sample([f"{first} {second}" for first in _FIRST for second in _SECOND], 1 + _OTHERS)
    codes = rng.sample(range(100_000, 1_000_000), 1 + _OTHERS)
    place, code = places[0], str(codes[0])
    reworded = order.question_kind == "needle-reworded"
    needles = [_reworded(place, code) if reworded else _plain(place, code)]
    if order.question_kind == "needle-among-others":
        needles += [_plain(place, str(code)) for place, code in zip(places[1:], codes[1:], strict=True)]
    size_bytes = order.size_bytes or _SIZE_BYTES
    _write(order, rng, needles, size_bytes)
    question = f"What is the access code of the {place}?"
    note = f"{size_bytes:,} bytes of made-up prose that state the code once."
    return Task(question, NumberAnswer(code), note)


def _plain(place: str, code: str) -> str:
    return f"The access code of the {place} is {code}."


def _reworded(place: str, code: str) -> str:
    return f"To open the door at the {place}, one has to dial {code}."


def _write(order: Order, rng: random.Random, needles: list[str], size_bytes: int) -> None:
    """Exactly `size_bytes` bytes; each needle is a sentence of its own at a uniformly chosen place."""
    places = sorted(rng.randrange(max(1, size_bytes - 200 * len(needles))) for _ in needles)
    waiting = list(zip(places, rng.sample(needles, len(needles)), strict=True))
    written = 0
    with order.path.open("w", encoding="ascii", newline="\n", buffering=1 << 18) as file:
        for sentence in _sentences(rng):
            while waiting and written >= waiting[0][0]:
                written += file.write(waiting.pop(0)[1] + " ")
            if written + len(sentence) >= size_bytes:
                # The end is cut to size: by then every needle has been written.
                file.write("." * (size_bytes - written - 1) + "\n")
                return
            written += file.write(sentence)


def _sentences(rng: random.Random) -> Iterator[str]:
    """Sentences with a space or, at the end of a paragraph, a newline behind them. Never a digit: only needles have them."""
    choice, chance = rng.choice, rng.random
    while True:
        end = "\n" if chance() < 0.25 else " "
        yield f"{choice(_WHO)} {choice(_DID)} {choice(_WHERE)} {choice(_WHEN)}.{end}"


EXAMPLE = Example(
    slug="s-niah",
    title="A needle in a haystack",
    summary="A long made-up text that states one code once. The question asks for it.",
    question="What is the access code of the Marlow archive?",
    question_kinds=("needle", "needle-among-others", "needle-reworded"),
    builder=build,
    size_bytes_hint=_SIZE_BYTES,
    min_size_bytes=10_000,
    small_model_kinds=("needle", "needle-among-others"),
)
