"""QuotaExceeded: the one error of this room that people meet."""

from __future__ import annotations

from datetime import datetime

from rlmweb.quotas.resources import resource_named
from rlmweb.quotas.scopes import Scope

_WHOSE = {
    "installation": "of the installation",
    "organisation": "of your organisation",
    "team": "of the team",
    "user": "of your account",
    "key": "of this API key",
}
_PER = {"day": " a day", "month": " a month", "none": ""}


class QuotaExceeded(Exception):
    """A hard limit does not allow what was asked. Amounts in the resource's own unit (`rlmweb.quotas.resources`).

    `used` includes what is reserved. `resets_at` None: there is room when something is given back.
    """

    def __init__(
        self,
        scope: Scope,
        resource: str,
        *,
        limit: int,
        used: int,
        requested: int,
        period: str,
        resets_at: datetime | None,
        on_exceed: str,
    ) -> None:
        self.scope = scope
        self.resource = resource
        self.limit = limit
        self.used = used
        self.requested = requested
        self.period = period
        self.resets_at = resets_at
        self.on_exceed = on_exceed
        super().__init__(self._sentence())

    @property
    def quota(self) -> str:
        """Its short name, for events and logs: `quota.cost_micro_usd.team.month`."""
        return f"quota.{self.resource}.{self.scope.kind}.{self.period}"

    def _sentence(self) -> str:
        found = resource_named(self.resource)
        if self.scope.kind == "installation":
            # What others use of it is not for everybody.
            return f"{found.title}: the installation has no room{_PER[self.period] and ' in this period'}. {self._advice()}"
        allowed = f"{found.title} {_WHOSE[self.scope.kind]}: {found.shown(self.limit)}{_PER[self.period]} allowed"
        asked = f"{found.shown(self.used)} used or reserved, {found.shown(self.requested)} more asked for"
        return f"{allowed}, {asked}. {self._advice()}"

    def _advice(self) -> str:
        ask = "or ask an administrator to raise the limit (page Quotas)"
        if self.requested > self.limit:
            return "It never fits under this limit: ask for less, " + ask + "."
        if self.resets_at is not None:
            return f"Wait until {self.resets_at:%Y-%m-%d %H:%M} UTC, {ask}."
        freed = {"concurrent_sandboxes": "until a sandbox ends", "storage_bytes": "or delete contexts"}
        return f"Wait {freed.get(self.resource, 'until something is given back')}, {ask}."
