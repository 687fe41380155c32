"""One service of Northflank as a machine. Commands and files go over exec sessions, which carry text."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from northflank import AsyncApiClient
from northflank._protocols import AsyncExecSession

from sandboxes.contract import (
    Isolation,
    SandboxInfo,
    SandboxRef,
    SandboxState,
    SnapshotInfo,
    SnapshotKind,
    SnapshotRef,
)
from sandboxes.errors import (
    AlreadyTerminated,
    ExecTimeout,
    NotFound,
    NotReady,
    ProviderUnavailable,
    SnapshotFailed,
    StreamLost,
    Unsupported,
)
from sandboxes.providers.northflank.description import NAME
from sandboxes.providers.northflank.errors import translate, translated
from sandboxes.remote.text import TextMachine

SNAPSHOT_TIMEOUT_S = 600.0
READY_TIMEOUT_S = 300.0
POLL_S = 1.0
OPEN_TIMEOUT_S = 30.0


class ExecStream:
    """Standard input and output of an exec session. The process ends with its socket; the hub is no child of it."""

    def __init__(self, session: AsyncExecSession) -> None:
        self._session = session

    async def send(self, data: bytes) -> None:
        try:
            await self._session.send(data.decode("ascii"))
        except Exception as error:
            raise StreamLost(f"the exec session broke: {translate(error)}", provider=NAME) from error

    async def chunks(self) -> AsyncIterator[bytes]:
        try:
            async for output in self._session:
                if output.stream == "stdout":
                    yield output.data.encode()
        except Exception as error:
            raise StreamLost(f"the exec session broke: {translate(error)}", provider=NAME) from error

    async def close(self) -> None:
        await self._session.aclose()


class NorthflankMachine(TextMachine):
    provider = NAME

    def __init__(
        self, client: AsyncApiClient, project: str, service: str, poll_s: float, python: Sequence[str]
    ) -> None:
        self.python = python
        self._client = client
        self._project = project
        self.service = service
        self._poll_s = poll_s
        self.ref = SandboxRef(json.dumps({"provider": NAME, "project": project, "id": service}))

    async def data(self) -> Mapping[str, Any]:
        """The service as the API shows it. Raises `NotFound`."""
        with translated():
            answer = await self._client.get.service(project_id=self._project, service_id=self.service)
            found: Any = answer.data
            return found if isinstance(found, Mapping) else found["service"]

    async def info(self) -> SandboxInfo:
        return info_of(self.ref, await self.data())

    async def wait_until_ready(self) -> None:
        deadline = time.monotonic() + READY_TIMEOUT_S
        while True:
            data = await self.data()
            status = deployment_status(data)
            if status == "COMPLETED":
                return
            if status == "FAILED":
                raise NotReady(f"the deployment of {self.service} failed; see its logs at Northflank", provider=NAME)
            if time.monotonic() > deadline:
                raise NotReady(f"{self.service} is not ready after {READY_TIMEOUT_S:g} s ({status})", provider=NAME)
            await asyncio.sleep(self._poll_s)

    # Commands -------------------------------------------------------------------------------------------------------

    async def _open(self, words: Sequence[str]) -> AsyncExecSession:
        try:
            with translated():
                return await self._client.exec.aopen_service_session(  # noqa: S604  # nosec B604  # "none": no shell
                    project_id=self._project,
                    service_id=self.service,
                    command=list(words),
                    shell="none",
                    tty=False,
                    open_timeout=OPEN_TIMEOUT_S,
                )
        except NotFound as error:
            raise AlreadyTerminated(f"there is no service {self.service} any more", provider=NAME) from error

    async def command(self, words: Sequence[str], timeout_s: float) -> tuple[int, str, str]:
        try:
            return await self._command(words, timeout_s)
        except ProviderUnavailable:
            try:
                await self.data()  # the exec proxy has no status for what is gone
            except NotFound as error:
                raise AlreadyTerminated(f"there is no service {self.service} any more", provider=NAME) from error
            raise

    async def _command(self, words: Sequence[str], timeout_s: float) -> tuple[int, str, str]:
        session = await self._open(words)
        texts: dict[str, list[str]] = {"stdout": [], "stderr": []}
        try:
            async with asyncio.timeout(timeout_s):
                with translated():
                    await session.send_eof()
                    async for output in session:
                        texts[output.stream].append(output.data)
        except TimeoutError as error:
            raise ExecTimeout(f"it ran longer than {timeout_s:g} s", provider=NAME) from error
        finally:
            await session.aclose()
        result = session.result
        code = result.exit_code if result is not None and result.exit_code is not None else 1
        return code, "".join(texts["stdout"]), "".join(texts["stderr"])

    async def open_stream(self, argv: Sequence[str]) -> ExecStream:
        return ExecStream(await self._open(argv))

    # Snapshots and life ---------------------------------------------------------------------------------------------

    async def snapshot(self, kind: SnapshotKind, *, label: str, ttl_s: float | None) -> SnapshotInfo:
        """Of the file system, on Kata plans only; asynchronous at the vendor, so it is waited for."""
        if kind == "memory":
            raise Unsupported("memory_snapshot", provider=NAME)
        try:
            with translated():
                answer = await self._client.create.container_snapshot(
                    project_id=self._project, service_id=self.service, data={}
                )
                taken: Any = answer.data
        except NotFound as error:
            raise AlreadyTerminated(f"there is no service {self.service} any more", provider=NAME) from error
        deadline = time.monotonic() + SNAPSHOT_TIMEOUT_S
        while taken["state"] not in ("succeeded", "failed", "cancelled"):
            if time.monotonic() > deadline:
                raise SnapshotFailed(f"snapshot {taken['id']} is {taken['state']} for too long", provider=NAME)
            await asyncio.sleep(self._poll_s)
            with translated():
                taken = (await self._client.get.container_snapshot(snapshot_id=taken["id"])).data
        if taken["state"] != "succeeded":
            why = (taken.get("error") or {}).get("message", "no reason given")
            raise SnapshotFailed(f"snapshot {taken['id']} {taken['state']}: {why}", provider=NAME)
        ref = SnapshotRef(json.dumps({"provider": NAME, "project": self._project, "snapshot": taken["id"]}))
        return SnapshotInfo(ref, kind, timestamp(taken["createdAt"]))

    async def pause(self) -> None:
        with translated():
            await self._client.pause.service(project_id=self._project, service_id=self.service)

    async def resume(self) -> None:
        with translated():
            await self._client.resume.service(project_id=self._project, service_id=self.service, data={"instances": 1})
        await self.wait_until_ready()

    async def extend(self, seconds: float) -> None:
        raise Unsupported("extend", provider=NAME)

    async def terminate(self) -> None:
        with contextlib.suppress(NotFound), translated():
            await self._client.delete.service(
                project_id=self._project, service_id=self.service, delete_child_objects=True
            )


def deployment_status(data: Mapping[str, Any]) -> str:
    return str(((data.get("status") or {}).get("deployment") or {}).get("status") or "")


def timestamp(text: str) -> float:
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def info_of(ref: SandboxRef, data: Mapping[str, Any]) -> SandboxInfo:
    status = deployment_status(data)
    state = SandboxState.STARTING
    if data.get("servicePaused") is True:
        state = SandboxState.PAUSED
    elif status == "COMPLETED":
        state = SandboxState.RUNNING
    elif status == "FAILED":
        state = SandboxState.STOPPED
    about = described(str(data.get("description") or ""))
    expiry = data.get("expiryTime")
    return SandboxInfo(
        ref,
        state,
        Isolation.MICROVM,
        "kata",
        timestamp(data["createdAt"]) if data.get("createdAt") else 0.0,
        timestamp(str(expiry)) if expiry else None,
        about,
    )


def described(description: str) -> dict[str, str]:
    """Our labels, which travel in the description: Northflank's tags are words without values."""
    try:
        found = json.loads(description)["rlmweb"]
        return {str(name): str(value) for name, value in found.items()}
    except (ValueError, KeyError, TypeError, AttributeError):
        return {}
