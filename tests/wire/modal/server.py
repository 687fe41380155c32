"""The control plane: apps, images, secrets, and sandboxes of both kinds, the ones with a GPU and the others."""

from __future__ import annotations

import itertools
import time
from collections.abc import Awaitable, Callable
from typing import Any

from google.protobuf.empty_pb2 import Empty
from grpclib import GRPCError, Status
from modal_proto import api_pb2 as pb
from modal_proto.api_grpc import ModalClientBase

from sandboxes.providers.modal.options import GPUS
from tests.wire.engine import Box, Engine, NoSuchBox
from tests.wire.faults import Faults, Operation
from tests.wire.modal.calls import Calls, jwt, served
from tests.wire.modal.router import Router

PAGE_SIZE = 3
"""Small, so that lists have pages."""
BUILDER_VERSION = "2025.06"


@served
class ModalServer(Calls, ModalClientBase):
    def __init__(self, engine: Engine, faults: Faults, token: tuple[str, str]) -> None:
        super().__init__(faults)
        self.engine = engine
        self.router = Router(engine, faults)  # type: ignore[abstract]  # `served` filled it in
        self.url = ""
        self.created: list[Any] = []
        """Requests that made a sandbox, in order."""
        self.no_room_for: set[str] = set()
        """GPUs that are waited for without end."""
        self.apps: dict[str, str] = {}
        self.environments: list[str] = []
        self.rates: dict[str, str] | None = {"cpu_core_hour": "0.1419", "memory_gib_hour": "0.0240"}
        """None: the token may not see them."""
        self.images: dict[str, list[str]] = {}
        """Lines of the Dockerfiles, by image."""
        self._token = token
        self._auth_token = jwt(nonce=1)
        self._numbers = itertools.count(1)

    # Who asks -------------------------------------------------------------------------------------------------------

    async def _call(
        self,
        stream: Any,
        operation: Operation | Callable[[Any], Operation],
        do: Callable[[Any], Awaitable[Any]],
        *,
        v2: bool = False,
    ) -> None:
        given = stream.metadata.get("x-modal-token-id"), stream.metadata.get("x-modal-token-secret")
        if given != self._token:
            raise GRPCError(Status.UNAUTHENTICATED, "Token ID is malformed")
        if v2 and stream.metadata.get("x-modal-auth-token") != self._auth_token:
            raise GRPCError(Status.UNAUTHENTICATED, "no auth token")
        await self.answer(stream, operation, do)

    async def ClientHello(self, stream: Any) -> None:
        async def hello(request: Any) -> Any:
            return pb.ClientHelloResponse(image_builder_version=BUILDER_VERSION)

        await self._call(stream, "list", hello)

    async def AuthTokenGet(self, stream: Any) -> None:
        async def get(request: Any) -> Any:
            return pb.AuthTokenGetResponse(token=self._auth_token)

        await self._call(stream, "list", get)

    async def WorkspaceNameLookup(self, stream: Any) -> None:
        async def look(request: Any) -> Any:
            return pb.WorkspaceNameLookupResponse(workspace_name="lab", username="lab")

        await self._call(stream, "list", look)

    async def WorkspaceBillingRates(self, stream: Any) -> None:
        async def rates(request: Any) -> Any:
            if self.rates is None:
                raise GRPCError(Status.PERMISSION_DENIED, "only owners see rates")
            return pb.WorkspaceBillingRatesResponse(rates=self.rates)

        await self._call(stream, "list", rates)

    # Apps, images, secrets ------------------------------------------------------------------------------------------

    async def AppGetOrCreate(self, stream: Any) -> None:
        async def get(request: Any) -> Any:
            self.environments.append(request.environment_name)
            id = self.apps.setdefault(request.app_name, f"ap-{len(self.apps) + 1:022d}")
            return pb.AppGetOrCreateResponse(app_id=id, handle_metadata=pb.AppHandleMetadata(app_id=id))

        await self._call(stream, "list", get)

    async def EnvironmentGetOrCreate(self, stream: Any) -> None:
        async def get(request: Any) -> Any:
            settings = pb.EnvironmentSettings(image_builder_version=BUILDER_VERSION)
            metadata = pb.EnvironmentMetadata(name=request.deployment_name or "main", settings=settings)
            return pb.EnvironmentGetOrCreateResponse(environment_id="en-1", metadata=metadata)

        await self._call(stream, "list", get)

    async def ImageGetOrCreate(self, stream: Any) -> None:
        async def get(request: Any) -> Any:
            lines = list(request.image.dockerfile_commands)
            id = next((id for id, known in self.images.items() if known == lines), f"im-{len(self.images) + 1:022d}")
            self.images[id] = lines
            result = pb.GenericResult(status=pb.GenericResult.GENERIC_STATUS_SUCCESS)
            return pb.ImageGetOrCreateResponse(image_id=id, result=result, metadata=pb.ImageMetadata())

        await self._call(stream, "list", get)

    async def ImageFromId(self, stream: Any) -> None:
        async def get(request: Any) -> Any:
            if request.image_id not in self.images:
                self.engine.snapshot(request.image_id)
            return pb.ImageFromIdResponse(image_id=request.image_id, metadata=pb.ImageMetadata())

        await self._call(stream, "get", get)

    async def ImageDelete(self, stream: Any) -> None:
        async def delete(request: Any) -> Any:
            if not self.engine.delete_snapshot(request.image_id):
                raise NoSuchBox(request.image_id)
            return Empty()

        await self._call(stream, "delete", delete)

    async def SecretGetOrCreate(self, stream: Any) -> None:
        async def get(request: Any) -> Any:
            id = f"st-{next(self._numbers):022d}"
            self.router.secrets[id] = dict(request.env_dict)
            return pb.SecretGetOrCreateResponse(secret_id=id, metadata=pb.SecretMetadata())

        await self._call(stream, "write", get)

    # Creating -------------------------------------------------------------------------------------------------------

    def _operation(self, request: Any) -> Operation:
        return "restore" if request.definition.image_id in self.engine.snapshots else "create"

    async def SandboxCreateV2(self, stream: Any) -> None:
        async def create(request: Any) -> Any:
            box = self._made(request, f"sb-{next(self._numbers):026d}")
            for source in request.secret_sources:
                box.env |= dict(source.env.contents)
            return pb.SandboxCreateV2Response(
                sandbox_id=box.id,
                task_id=self._task(box),
                command_router_access=self._access(self._task(box)),
                metadata=self._metadata(box),
            )

        await self._call(stream, self._operation, create, v2=True)

    async def SandboxCreate(self, stream: Any) -> None:
        async def create(request: Any) -> Any:
            box = self._made(request, f"sb-{next(self._numbers):022d}")
            for id in request.definition.secret_ids:
                box.env |= self.router.secrets[id]
            return pb.SandboxCreateResponse(sandbox_id=box.id, metadata=self._metadata(box))

        await self._call(stream, self._operation, create)

    def _made(self, request: Any, id: str) -> Box:
        definition = request.definition
        gpu = definition.resources.gpu_config.gpu_type
        if self.faults.no_capacity:
            raise GRPCError(Status.RESOURCE_EXHAUSTED, "no capacity: no workers available")
        if gpu and gpu not in GPUS:
            raise GRPCError(Status.INVALID_ARGUMENT, f"unknown GPU {gpu}")
        self._require_free(definition.name)
        snapshot = definition.image_id if definition.image_id not in self.images else ""
        box = self.engine.create(
            id=id,
            labels={tag.tag_name: tag.tag_value for tag in request.tags},
            snapshot=snapshot,
            lifetime_s=float(definition.timeout_secs),
        )
        box.settings = {"definition": definition, "name": definition.name, "app": request.app_id, "gpu": gpu}
        self.created.append(request)
        return box

    def _require_free(self, name: str) -> None:
        if name and any(box.settings.get("name") == name for box in self.engine.alive()):
            raise GRPCError(Status.ALREADY_EXISTS, f"a sandbox named {name} is running")

    def _task(self, box: Box) -> str:
        """Tasks of the newer kind end with a V."""
        task = f"ta-{box.id.removeprefix('sb-')}{'' if is_v1(box.id) else 'V'}"
        self.router.tasks[task] = box.id
        return task

    def _access(self, task: str) -> Any:
        return pb.CommandRouterAccess(url=self.url, jwt=self.router.access(task))

    def _metadata(self, box: Box) -> Any:
        return pb.SandboxHandleMetadata(app_id=str(box.settings["app"]))

    # Finding --------------------------------------------------------------------------------------------------------

    def _known(self, id: str, *, v2: bool) -> Box:
        """Alive or not. Each kind is known to the calls of its own only."""
        box = self.engine.boxes.get(id)
        if box is None or is_v1(id) is v2:
            raise NoSuchBox(id)
        if box.alive and box.expires_at is not None and time.time() >= box.expires_at:
            self.engine.terminate(id)
        return box

    async def _wait(self, stream: Any, *, v2: bool) -> None:
        async def wait(request: Any) -> Any:
            box = self._known(request.sandbox_id, v2=v2)
            over = pb.GenericResult(status=pb.GenericResult.GENERIC_STATUS_TERMINATED)
            return pb.SandboxWaitResponse(result=None if box.alive else over, metadata=self._metadata(box))

        await self._call(stream, "get", wait, v2=v2)

    async def SandboxWait(self, stream: Any) -> None:
        await self._wait(stream, v2=False)

    async def SandboxWaitV2(self, stream: Any) -> None:
        await self._wait(stream, v2=True)

    async def _from_name(self, stream: Any, *, v2: bool) -> None:
        async def find(request: Any) -> Any:
            app = self.apps.get(request.app_name)
            for box in self.engine.alive():
                if (box.settings["name"], box.settings["app"]) == (request.sandbox_name, app) and is_v1(
                    box.id
                ) is not v2:
                    return pb.SandboxGetFromNameResponse(sandbox_id=box.id, metadata=self._metadata(box))
            raise NoSuchBox(request.sandbox_name)

        await self._call(stream, "get", find, v2=v2)

    async def SandboxGetFromName(self, stream: Any) -> None:
        await self._from_name(stream, v2=False)

    async def SandboxGetFromNameV2(self, stream: Any) -> None:
        await self._from_name(stream, v2=True)

    async def SandboxListV2(self, stream: Any) -> None:
        async def find(request: Any) -> Any:
            labels = {tag.tag_name: tag.tag_value for tag in request.tags}
            found = [box for box in self.engine.find(labels) if box.settings["app"] == request.app_id]
            found = [box for box in found if not request.before_timestamp or box.created_at < request.before_timestamp]
            found.sort(key=lambda box: -box.created_at)
            page = [
                pb.SandboxInfo(
                    id=box.id, created_at=box.created_at, app_id=request.app_id, metadata=self._metadata(box)
                )
                for box in found[:PAGE_SIZE]
            ]
            return pb.SandboxListResponse(sandboxes=page)

        await self._call(stream, "list", find, v2=True)

    async def _task_id(self, stream: Any, *, v2: bool) -> None:
        async def get(request: Any) -> Any:
            box = self._known(request.sandbox_id, v2=v2)
            if not box.alive:
                over = pb.GenericResult(status=pb.GenericResult.GENERIC_STATUS_TERMINATED)
                return pb.SandboxGetTaskIdResponse(task_result=over)
            waits = box.settings["gpu"] in self.no_room_for
            return pb.SandboxGetTaskIdResponse(task_id="" if waits else self._task(box))

        await self._call(stream, "get", get, v2=v2)

    async def SandboxGetTaskId(self, stream: Any) -> None:
        await self._task_id(stream, v2=False)

    async def SandboxGetTaskIdV2(self, stream: Any) -> None:
        await self._task_id(stream, v2=True)

    async def TaskGetCommandRouterAccess(self, stream: Any) -> None:
        async def get(request: Any) -> Any:
            self.engine.box(self.router.tasks[request.task_id])
            access = self._access(request.task_id)
            return pb.TaskGetCommandRouterAccessResponse(url=access.url, jwt=access.jwt)

        await self._call(stream, "get", get)

    async def SandboxGetCommandRouterAccess(self, stream: Any) -> None:
        async def get(request: Any) -> Any:
            access = self._access(self._task(self.engine.box(request.sandbox_id)))
            return pb.SandboxGetCommandRouterAccessResponse(url=access.url, jwt=access.jwt)

        await self._call(stream, "get", get, v2=True)

    # Tags, memory, the end ------------------------------------------------------------------------------------------

    async def _tags_get(self, stream: Any, *, v2: bool) -> None:
        async def get(request: Any) -> Any:
            box = self._known(request.sandbox_id, v2=v2)
            tags = [pb.SandboxTag(tag_name=name, tag_value=value) for name, value in box.labels.items()]
            return pb.SandboxTagsGetResponse(tags=tags)

        await self._call(stream, "get", get, v2=v2)

    async def SandboxTagsGet(self, stream: Any) -> None:
        await self._tags_get(stream, v2=False)

    async def SandboxTagsGetV2(self, stream: Any) -> None:
        await self._tags_get(stream, v2=True)

    async def SandboxTagsSetV2(self, stream: Any) -> None:
        async def put(request: Any) -> Any:
            box = self._known(request.sandbox_id, v2=True)
            box.labels = {tag.tag_name: tag.tag_value for tag in request.tags}
            return Empty()

        await self._call(stream, "write", put, v2=True)

    async def SandboxSnapshotGet(self, stream: Any) -> None:
        async def get(request: Any) -> Any:
            self.engine.snapshot(request.snapshot_id)
            metadata = pb.SandboxSnapshotHandleMetadata(is_v2=True)
            return pb.SandboxSnapshotGetResponse(snapshot_id=request.snapshot_id, handle_metadata=metadata)

        await self._call(stream, "get", get)

    async def SandboxRestoreV2(self, stream: Any) -> None:
        """With what the parent was made with, and no tags."""

        async def restore(request: Any) -> Any:
            parent = self.engine.boxes[self.engine.snapshot(request.snapshot_id).parent]
            self._require_free(request.sandbox_name_override)
            definition: Any = parent.settings["definition"]
            box = self.engine.create(
                id=f"sb-{next(self._numbers):026d}",
                env=parent.env,
                snapshot=request.snapshot_id,
                lifetime_s=float(definition.timeout_secs),
            )
            box.settings = {**parent.settings, "name": request.sandbox_name_override}
            task = self._task(box)
            return pb.SandboxRestoreV2Response(
                sandbox_id=box.id, task_id=task, command_router_access=self._access(task)
            )

        await self._call(stream, "restore", restore, v2=True)

    async def _terminate(self, stream: Any, *, v2: bool) -> None:
        async def end(request: Any) -> Any:
            self._known(request.sandbox_id, v2=v2)
            self.engine.terminate(request.sandbox_id)
            return pb.SandboxTerminateResponse()

        await self._call(stream, "terminate", end, v2=v2)

    async def SandboxTerminate(self, stream: Any) -> None:
        await self._terminate(stream, v2=False)

    async def SandboxTerminateV2(self, stream: Any) -> None:
        await self._terminate(stream, v2=True)


def is_v1(id: str) -> bool:
    return len(id.removeprefix("sb-")) == 22
