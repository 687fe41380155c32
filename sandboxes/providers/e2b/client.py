"""What every call is given: key and addresses of one provider object, and nothing of the process's environment."""

from __future__ import annotations

import os
from typing import Any

from e2b import AsyncSandbox, ConnectionConfig
from e2b.api import handle_api_exception
from e2b.api.client.api.sandboxes import get_sandboxes_sandbox_id
from e2b.api.client.models import SandboxDetail
from e2b.api.client_async import get_api_client
from e2b.exceptions import SandboxNotFoundException
from packaging.version import Version

from sandboxes.errors import InvalidSpec, ProviderUnavailable
from sandboxes.providers.e2b.description import NAME
from sandboxes.providers.e2b.errors import translated

DOMAIN = "e2b.app"
SANDBOX_URL = "E2B_SANDBOX_URL"
"""The one variable of the client that no argument of ours replaces where sandboxes have addresses of their own."""
CALL_TIMEOUT_S = 30.0


class Client:
    """The client's connections are the process's; what is ours here are only arguments."""

    def __init__(self, api_key: str, domain: str, api_url: str, sandbox_url: str) -> None:
        if not sandbox_url and os.environ.get(SANDBOX_URL):
            message = f"{SANDBOX_URL} in the environment would lead all sandboxes astray; unset it, or give sandbox_url"
            raise InvalidSpec(message, provider=NAME)
        self.domain = domain
        self._options: dict[str, Any] = {
            "api_key": api_key,
            "domain": domain,
            "api_url": api_url or f"https://api.{domain}",
            "debug": False,
            "request_timeout": CALL_TIMEOUT_S,
        }
        if sandbox_url:
            self._options["sandbox_url"] = sandbox_url

    def __repr__(self) -> str:
        return f"Client({self._options['api_url']!r})"

    @property
    def options(self) -> dict[str, Any]:
        """Arguments of the class methods of `AsyncSandbox` and `AsyncTemplate`."""
        return dict(self._options)

    async def detail(self, sandbox_id: str) -> SandboxDetail:
        """The sandbox as the API shows it, without waking it. Raises `NotFound`.

        `AsyncSandbox.get_info` leaves the token of envd out, and `connect`, which has it, wakes a sandbox that is
        paused and gives it five minutes to live unless told otherwise.
        """
        with translated():
            answer = await get_sandboxes_sandbox_id.asyncio_detailed(
                sandbox_id, client=get_api_client(ConnectionConfig(**self._options))
            )
            if answer.status_code == 404:
                raise SandboxNotFoundException(f"there is no sandbox {sandbox_id}")
            if isinstance(answer.parsed, SandboxDetail):
                return answer.parsed
            if answer.status_code >= 300:
                raise handle_api_exception(answer)
        raise ProviderUnavailable(f"the answer about {sandbox_id} is none", provider=NAME)

    def sandbox(self, detail: SandboxDetail) -> AsyncSandbox:
        """The client's own object for a sandbox, made without a call."""
        token = detail.envd_access_token if isinstance(detail.envd_access_token, str) else None
        headers = {"E2b-Sandbox-Id": detail.sandbox_id, "E2b-Sandbox-Port": str(ConnectionConfig.envd_port)}
        if token is not None:
            headers["X-Access-Token"] = token
        return AsyncSandbox(
            sandbox_id=detail.sandbox_id,
            sandbox_domain=detail.domain if isinstance(detail.domain, str) else None,
            envd_version=Version(detail.envd_version),
            envd_access_token=token,
            traffic_access_token=None,
            connection_config=ConnectionConfig(extra_sandbox_headers=headers, **self._options),
        )
