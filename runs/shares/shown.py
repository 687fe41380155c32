"""What a link shows: the events in its scope, redacted, under the numbers that they have."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

import orjson
from django.db.models import QuerySet

from runs.blobs import blob_store
from runs.events.read import Line, last_seq
from runs.lm.errors import LmAuthFailed
from runs.lm.keys import open_key
from runs.models import BlobUse, Event, LmCredential, Session, Share
from runs.shares.masking import Masker
from runs.shares.redaction import redactor, strict
from sandboxes.accounts.opening import secrets_of
from sandboxes.errors import AuthFailed
from sandboxes.models import ProviderAccount

logger = logging.getLogger(__name__)

WITHHELD = "withheld"
"""Takes the place of an event that is out of the link's scope: the page counts without gaps."""
MAX_MASKED_TEXT_BYTES = 8 * 2**20


class ShownSession:
    """One link's view of its session. Made for each request or socket; knows nothing that outlives it."""

    def __init__(self, share: Share) -> None:
        self.share = share
        self.session: Session = share.session
        self._redact = redactor(share.redaction, _masker_of(share) if share.redaction == "masked" else None)
        self._below: set[int] | None = None
        self._above: set[int] = set()
        if share.node is not None:
            self._below, self._above = _family(self.session, share.node)

    def last(self) -> int:
        """The newest event that is shown."""
        newest = last_seq(self.session.pk)
        return newest if self.share.upto_seq is None else min(newest, self.share.upto_seq)

    def line(self, line: Line) -> str:
        return orjson.dumps(self.event(orjson.loads(line.text))).decode()

    def lines(self, lines: Iterable[Line]) -> list[str]:
        return [self.line(line) for line in lines]

    def event(self, event: dict[str, Any]) -> dict[str, Any]:
        """As it is shown, or `withheld`."""
        if self._below is None:
            return self._redact(event)
        node, kind = event.get("node"), event["type"]
        if kind == "node.started":
            if event.get("parent") in self._below:
                self._below.add(event["node"])
            if node in self._above:
                return strict(event)
        if kind in ("session.started", "session.finished"):
            return strict(event)
        if node in self._below:
            return self._redact(event)
        return {"seq": event["seq"], "at": event["at"], "type": WITHHELD}

    def frame(self, text: str) -> str:
        """A message of the websocket (`runs.stream.frames`): its events, and no number past the last that is shown."""
        message = orjson.loads(text)
        if message["type"] == "events":
            message["events"] = [self.event(event) for event in message["events"]]
        return orjson.dumps(message).decode()

    def text(self, sha256: str) -> bytes | None:
        """A long text, whole; None when no event that is shown has it, or it is not shown at this level.

        Raises `BlobError`.
        """
        if self.share.redaction == "strict" or not self._is_shown(sha256):
            return None
        store = blob_store()
        if self.share.redaction == "everything":
            return store.get(sha256)
        raw = store.slice(sha256, 0, MAX_MASKED_TEXT_BYTES + 1)
        if len(raw) > MAX_MASKED_TEXT_BYTES:
            return b"[hidden: this text is too long to be masked]"
        return _masker_of(self.share).text(raw.decode(errors="replace")).encode()

    def _is_shown(self, sha256: str) -> bool:
        if not BlobUse.objects.filter(session=self.session, sha256=sha256).exists():
            return False
        events: QuerySet[Event] = Event.objects.filter(
            session=self.session, seq__lte=self.last(), data__contains=sha256
        )
        found = (orjson.loads(f'{{"seq":{each.seq},"at":0,{each.data[1:]}') for each in events.iterator())
        return any(sha256.encode() in orjson.dumps(self.event(event)) for event in found)


def _family(session: Session, node: int) -> tuple[set[int], set[int]]:
    """Numbers of the node with all below it, and of those above it."""
    started = Event.objects.filter(session=session, type="node.started").order_by("seq").values_list("node", "data")
    parents: dict[int, int | None] = {
        number: orjson.loads(data)["parent"] for number, data in started if number is not None
    }
    below = {node}
    for number, parent in parents.items():  # a child starts after its parent
        if parent in below:
            below.add(number)
    above: set[int] = set()
    at = parents.get(node)
    while at is not None:
        above.add(at)
        at = parents.get(at)
    return below, above


def _masker_of(share: Share) -> Masker:
    team = share.session.team_id
    newest = LmCredential.objects.filter(team=team).order_by("-id").values_list("id", flat=True).first() or 0
    return _masker(team, newest, tuple(share.words))


@lru_cache(maxsize=64)
def _masker(team_id: int, newest_credential: int, words: tuple[str, ...]) -> Masker:
    """Knows the team's own keys and the words that the link lists. Made again when the team has another key."""
    return Masker([*words, *_keys_of(team_id)])


def _keys_of(team_id: int) -> Iterable[str]:
    for row in LmCredential.objects.filter(team=team_id):
        try:
            yield open_key(bytes(row.key_encrypted), api=row.api, base_url=row.base_url)
        except LmAuthFailed as error:
            logger.warning("a key cannot be masked, because it cannot be read: %s", error)
    for account in ProviderAccount.objects.filter(team=team_id):
        try:
            yield from (str(value) for value in secrets_of(account).values() if value)
        except AuthFailed as error:
            logger.warning("a provider's key cannot be masked, because it cannot be read: %s", error)
