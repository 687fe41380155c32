"""Gemini through Google's OpenAI-compatible endpoint.

Google's own SDK would add nothing that a text conversation uses, and it retries, reads credentials from the
environment and opens connections by rules of its own. This way one transport, one table of errors and one set
of tests serve both. What it costs: tokens of hidden thought are only in the total, so the output is counted
from there.
"""

from __future__ import annotations

from runs.lm.base import ModelChoice
from runs.lm.openai_compatible import Dialect, OpenAiCompatibleClient, client_at
from runs.lm.site import Site

GEMINI_URL = "https://generativelanguage.googleapis.com/v1beta/openai/"


def build(choice: ModelChoice, key: str, site: Site) -> OpenAiCompatibleClient:
    return client_at(choice, key, site, choice.base_url or GEMINI_URL, Dialect(hidden_output=True))
