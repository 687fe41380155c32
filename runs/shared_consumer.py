"""The websocket of a link: `/shared/<public id>/live/`. Says what `runs.consumers` says, of what the link shows only."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from runs.consumers import Refused, SessionConsumer
from runs.shares.holding import holds
from runs.shares.sharing import live_share, may_open
from runs.shares.shown import ShownSession
from runs.stream.database import in_thread


class SharedConsumer(SessionConsumer):
    recheck_s = 1.0
    """A revoked link sends its last byte within two seconds."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._shown: ShownSession | None = None

    async def _deliver(self, text: str) -> None:
        assert self._shown is not None, "The link is looked at before anything is sent."
        await super()._deliver(await in_thread(self._shown.frame, text))

    def _viewed(self) -> tuple[int, UUID]:
        """As the link stands now. Raises `Refused`; frozen links have no socket."""
        share = live_share(self.scope["url_route"]["kwargs"]["public_id"])
        if share is None or share.upto_seq is not None:
            raise Refused(4404, "this link does not work any more")
        if not holds(self.scope.get("cookies", {}), share) and not may_open(share, self._person()):
            raise Refused(4404, "this link does not work any more")
        if self._shown is None:
            self._shown = ShownSession(share)
        return share.session.pk, share.session.uuid
