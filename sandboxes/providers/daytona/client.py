"""The vendor's client of one provider object, made in the first call.

Beside the SDK there is its generated API client, for what the SDK leaves out: `includeMemory`, lists without a
subscription to events for each of their entries, and what a key may do.
"""

from __future__ import annotations

from daytona import AsyncDaytona, DaytonaConfig
from daytona_api_client_async import ApiClient, ApiKeysApi, Configuration, SandboxApi, SnapshotsApi

API_URL = "https://app.daytona.io/api"


class Client:
    """Not made before the first call: it belongs to a running loop, and to a process that will not fork any more."""

    def __init__(self, api_key: str, api_url: str, target: str) -> None:
        """With all three of them the SDK reads none from the environment, where those of another team may be."""
        self._api_key = api_key
        self._api_url = api_url
        self._target = target
        self._sdk: AsyncDaytona | None = None
        self._raw: ApiClient | None = None

    def __repr__(self) -> str:
        return f"Client({self._api_url!r}, target={self._target!r})"

    @property
    def sdk(self) -> AsyncDaytona:
        if self._sdk is None:
            # No limit of connections: every open channel holds one, and the default of 250 would be a limit of sandboxes.
            self._sdk = AsyncDaytona(
                DaytonaConfig(
                    api_key=self._api_key,
                    api_url=self._api_url,
                    target=self._target,
                    connection_pool_maxsize=None,
                )
            )
        return self._sdk

    def _api(self) -> ApiClient:
        if self._raw is None:
            self._raw = ApiClient(Configuration(host=self._api_url))
            self._raw.default_headers["Authorization"] = f"Bearer {self._api_key}"
        return self._raw

    @property
    def sandboxes(self) -> SandboxApi:
        return SandboxApi(self._api())

    @property
    def snapshots(self) -> SnapshotsApi:
        return SnapshotsApi(self._api())

    @property
    def keys(self) -> ApiKeysApi:
        return ApiKeysApi(self._api())

    async def close(self) -> None:
        sdk, self._sdk = self._sdk, None
        raw, self._raw = self._raw, None
        if sdk is not None:
            await sdk.close()  # type: ignore[no-untyped-call]
        if raw is not None:
            await raw.close()  # type: ignore[no-untyped-call]
