"""An aggregation task like OOLONG-synth: judge every record by its meaning, then count.

After Bertsch, Pratapa, Mitamura, Neubig, Gormley, "Oolong: Evaluating Long Context Reasoning and Aggregation
Capabilities", 2025 (https://arxiv.org/abs/2511.02817). Alike: one short text a record, its label not written down, a
date and a user beside it; four fifths of the records belong to one fifth of the users; an uneven choice of labels;
questions about the most and least frequent label, about comparisons, users and spans of time. Different: the texts are
made from patterns, where the benchmark takes them from published data sets (the kinds of answer here resemble TREC's
coarse question types); there are no ties; an answer is right or wrong, where the benchmark gives a part of the score
for a near number. So a score here is not comparable with published ones, and code that knows the patterns could label
the records without a model.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import date, timedelta

from runs.examples.answers import NameAnswer, NumberAnswer
from runs.examples.generated.questionbank import KINDS, question_bank
from runs.examples.generated.writing import Question, leader, leader_of_one, write_records
from runs.examples.types import Example, Order, Task

_SIZE_BYTES = 100_000
_DAYS = [date(2023, 1, 1) + timedelta(days=n) for n in range(730)]
_USERS = 50
_LISTED = ", ".join(KINDS)
_HEADER = (
    "The following lines contain general-knowledge questions, one a line, each with a date and the user who asked.\n"
)
_TASK = f"Each question in the context asks for one of these kinds of answer: {_LISTED}. "
_COMPARISONS = ("more common", "less common", "equally common")


class Records:
    """Records, and how often each kind of question was asked by whom and when."""

    def __init__(self, seed: str) -> None:
        self._rng = random.Random(f"oolong records {seed}")
        users = self._rng.sample(range(10_000, 100_000), _USERS)
        self.users = [str(user) for user in users]
        self.count = 0
        self.kinds: Counter[str] = Counter(dict.fromkeys(KINDS, 0))
        self.kind_users: dict[str, Counter[str]] = {kind: Counter() for kind in KINDS}
        self.month_kinds: dict[str, Counter[str]] = {}

    def lines(self) -> Iterator[str]:
        rng = self._rng
        bank = question_bank()
        likely = rng.choices(KINDS, weights=[rng.uniform(0.4, 2) for _ in KINDS], k=1000) + list(KINDS)
        frequent = _USERS // 5
        busy, rare = self.users[:frequent], self.users[frequent:]
        days = [(day.strftime("%b %d, %Y"), day.strftime("%B %Y")) for day in _DAYS]
        while True:
            kind = rng.choice(likely)
            user = rng.choice(busy if rng.random() < 0.8 else rare)
            day, month = rng.choice(days)
            self.count += 1
            self.kinds[kind] += 1
            self.kind_users[kind][user] += 1
            self.month_kinds.setdefault(month, Counter())[kind] += 1
            yield f"Date: {day} || User: {user} || Instance: {rng.choice(bank[kind])}\n"


def most_frequent(records: Records, rng: random.Random) -> Question | None:
    return _kind(_TASK + "Which kind is the most common? Answer with the kind only.", leader(records.kinds))


def least_frequent(records: Records, rng: random.Random) -> Question | None:
    turned = Counter({kind: -n for kind, n in records.kinds.items()})
    return _kind(_TASK + "Which kind is the least common? Answer with the kind only.", leader(turned))


def compared(records: Records, rng: random.Random) -> Question | None:
    one, other = rng.sample(KINDS, 2)
    difference = records.kinds[one] - records.kinds[other]
    right = _COMPARISONS[0 if difference > 0 else 1 if difference < 0 else 2]
    question = (
        f'{_TASK}Is the kind "{one}" more common than, less common than, or equally common as the kind "{other}"? '
        f"Answer with one of: {', '.join(_COMPARISONS)}."
    )
    return question, NameAnswer(right, tuple(words for words in _COMPARISONS if words != right))


def kind_count(records: Records, rng: random.Random) -> Question | None:
    kind = rng.choice(KINDS)
    question = f'{_TASK}How many questions are of the kind "{kind}"? Answer with one number.'
    return question, NumberAnswer(str(records.kinds[kind]))


def user_count(records: Records, rng: random.Random) -> Question | None:
    kind = rng.choice(KINDS)
    asked = records.kind_users[kind]
    user = rng.choice(sorted(asked, key=lambda user: (-asked[user], user))[: _USERS // 5])
    question = f'{_TASK}How many questions of user {user} are of the kind "{kind}"? Answer with one number.'
    return question, NumberAnswer(str(records.kind_users[kind][user]), mentioned=(user,))


def user_most(records: Records, rng: random.Random) -> Question | None:
    kind, user = leader_of_one(records.kind_users, rng)
    if user is None:
        return None
    question = f'{_TASK}Which user asked the most questions of the kind "{kind}"? Answer with the user number only.'
    return question, NameAnswer(user, tuple(other for other in records.users if other != user))


def month_most(records: Records, rng: random.Random) -> Question | None:
    month, kind = leader_of_one(records.month_kinds, rng)
    question = f"{_TASK}Among the questions of {month}, which kind is the most common? Answer with the kind only."
    return _kind(question, kind)


_ASKS: dict[str, Callable[[Records, random.Random], Question | None]] = {
    "most-frequent": most_frequent,
    "least-frequent": least_frequent,
    "compared": compared,
    "kind-count": kind_count,
    "user-count": user_count,
    "user-most": user_most,
    "month-most": month_most,
}


def build(order: Order) -> Task:
    size_bytes = order.size_bytes or _SIZE_BYTES
    (question, expected), records = write_records(order, size_bytes, Records, _ASKS[order.question_kind], _HEADER)
    return Task(question, expected, f"{records.count:,} made-up records in the manner of OOLONG-synth.")


EXAMPLE = Example(
    slug="oolong",
    title="Judge and count (OOLONG-like)",
    summary="Many short questions whose kind has to be judged one by one before they can be counted.",
    question="Which kind of question is the most common?",
    question_kinds=tuple(_ASKS),
    builder=build,
    size_bytes_hint=_SIZE_BYTES,
    min_size_bytes=10_000,
)


def _kind(question: str, kind: str | None) -> Question | None:
    if kind is None:
        return None
    return question, NameAnswer(kind, tuple(other for other in KINDS if other != kind))
