"""Short general-knowledge questions whose kind of answer has to be judged by their meaning.

The openings are mixed on purpose ("What is the ...", "Tell me ..." stand for every kind), so that a list of question
words does not give the kind away: "What is the population of Lima?" asks for a number, "What is the capital of Peru?"
for a place.
"""

from __future__ import annotations

from itertools import product

KINDS = ("number", "person", "place", "reason", "object", "abbreviation")

_SLOTS: dict[str, tuple[str, ...]] = {
    "country": ("Peru", "Norway", "Ghana", "Nepal", "Chile", "Laos", "Malta", "Yemen", "Cuba", "Fiji", "Oman", "Togo"),
    "city": ("Lima", "Oslo", "Accra", "Quito", "Turin", "Basel", "Porto", "Kyoto", "Leeds", "Cork", "Tunis", "Graz"),
    "animal": ("heron", "badger", "gecko", "walrus", "ibex", "lynx", "tapir", "magpie", "newt", "otter", "mole", "eland"),
    "invention": ("zip fastener", "barometer", "steam plough", "typewriter", "telescope", "safety pin", "seismograph"),
    "work": ("the Blue Rider", "the Winter Sonata", "the Glass Ship", "the Salt Road", "the Last Ferry", "the Iron Psalm"),
    "event": ("flood of 1910", "great frost", "harbour fire", "first airship flight", "grain riot", "comet of 1811"),
    "craft": ("pottery", "glass blowing", "bookbinding", "weaving", "sailing", "bee keeping", "clock making", "falconry"),
    "body": ("World Meteorological Organization", "International Olympic Committee", "European Space Agency",
             "World Trade Organization", "International Maritime Organization", "Universal Postal Union"),
    "short": ("RADAR", "SCUBA", "UNICEF", "LASER", "SONAR", "NATO", "ASEAN", "HTML", "GNU", "IUPAC", "FIFA", "CERN"),
}  # fmt: skip

_PATTERNS: dict[str, tuple[str, ...]] = {
    "number": (
        "How many people live in {city}?",
        "What is the population of {country}?",
        "How tall does a {animal} grow?",
        "In which year was the {invention} patented?",
        "What is the distance between {city} and the sea?",
        "How many young does a {animal} have in a year?",
        "When did the {event} happen?",
        "Tell me the age at which a {animal} leaves its mother.",
        "What share of {country} is covered by forest?",
    ),
    "person": (
        "Who invented the {invention}?",
        "What is the name of the composer of {work}?",
        "Which painter is known for {work}?",
        "Who was the mayor of {city} during the {event}?",
        "Name the first president of {country}.",
        "Whose idea was the {invention}?",
        "Tell me which explorer first described the {animal}.",
        "Which ruler of {country} was fond of {craft}?",
    ),
    "place": (
        "What is the capital of {country}?",
        "Where was the {invention} first built?",
        "In which town did the {event} begin?",
        "Which river flows through {city}?",
        "What country has the most {animal}s?",
        "Tell me the birthplace of {craft}.",
        "Name the harbour from which {country} ships its grain.",
        "Which museum shows {work}?",
    ),
    "reason": (
        "Why does a {animal} sleep by day?",
        "What caused the {event}?",
        "How come the {invention} was forgotten for so long?",
        "What is the reason that {city} has no walls?",
        "Tell me why {country} changed its flag.",
        "What made {craft} popular in {city}?",
        "For what purpose does a {animal} dig?",
    ),
    "object": (
        "What does a {animal} eat?",
        "Which tool is used most in {craft}?",
        "What material is needed for {craft}?",
        "What is on the coat of arms of {city}?",
        "Name the main crop of {country}.",
        "Which part of the {invention} wears out first?",
        "What do people in {country} give as a wedding present?",
        "Tell me the favourite dish of {city}.",
    ),
    "abbreviation": (
        "What does {short} stand for?",
        "What is the full form of {short}?",
        "What is the short form of {body}?",
        "How is {body} usually abbreviated?",
        "Tell me the initials of the {body}.",
        "Which words are behind the letters {short}?",
        "Spell out {short}.",
    ),
}


def question_bank() -> dict[str, tuple[str, ...]]:
    """All questions of each kind; some hundreds in all, each in one kind only."""
    return {
        kind: tuple(text for pattern in patterns for text in _filled(pattern)) for kind, patterns in _PATTERNS.items()
    }


def _filled(pattern: str) -> list[str]:
    slots = [slot for slot in _SLOTS if "{" + slot + "}" in pattern]
    return [
        pattern.format(**dict(zip(slots, words, strict=True))) for words in product(*(_SLOTS[slot] for slot in slots))
    ]
