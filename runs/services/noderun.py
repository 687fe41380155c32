"""Everything a worker needs to work on one node, loaded once and kept while it goes from step to step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from queue import SimpleQueue
from uuid import UUID

from runs.blobs import BlobStore, blob_store
from runs.engine.io import ChatMessage
from runs.engine.state import NodeState, NodeTask, node_state
from runs.models import Node, NodeMessage, Session, Step
from runs.services.config import SessionConfig, config_from_plain
from runs.services.desk import Answered, ModelDesk, Wrote
from runs.services.nodebox import NodeBox
from runs.services.policy import ModelGuard
from runs.services.snapshots.taking import PartStored, SnapshotTaker
from sandboxes.errors import SandboxError
from sandboxes.frames import RunnerFrame


@dataclass(frozen=True, slots=True)
class LeaseLost:
    """Told by the heartbeat: the step that was claimed with this token is no longer ours. It may have ended meanwhile,
    and the node have gone on here."""

    token: UUID


Signal = Wrote | Answered | RunnerFrame | SandboxError | LeaseLost | PartStored


class NodeRun:
    """One node in this worker: its rows, conversation, sandbox and calls. Signals of other threads meet in a queue."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.session: Session = node.session
        self.config: SessionConfig = config_from_plain(self.session.config)
        self.store: BlobStore = blob_store()
        self.signals: SimpleQueue[Signal] = SimpleQueue()
        self.state: NodeState = node_state(node.state)
        self.epoch, self.messages = _conversation(node)
        self.task = self._task()
        self.desk = ModelDesk(self.config, self.session.team_id, self.signals.put)
        self.guard = ModelGuard(self.session)
        self.box = NodeBox(node, self.config, self.signals.put)
        self.snapshots = SnapshotTaker(node, self.box, self.store, self.signals.put, self.config.snapshots)

    @classmethod
    def of_step(cls, step_pk: int) -> tuple[NodeRun, Step]:
        needed = ("context", "meter", "created_by", "team__organisation")
        step = Step.objects.select_related(*(f"node__session__{name}" for name in needed)).get(pk=step_pk)
        return cls(step.node), step

    def save_messages(
        self, step_number: int, replaced: Sequence[ChatMessage] | None, appended: Sequence[ChatMessage]
    ) -> None:
        """Write the conversation's new messages; `replaced` begins a new epoch."""
        if replaced is not None:
            self.epoch += 1
            self.messages[:] = []
        new = [*(replaced or ()), *appended]
        if new:
            NodeMessage.objects.bulk_create(
                NodeMessage(
                    node=self.node,
                    epoch=self.epoch,
                    position=len(self.messages) + n,
                    step_number=step_number,
                    role=message.role,
                    content=message.content,
                )
                for n, message in enumerate(new)
            )
            self.messages.extend(new)

    def close(self) -> None:
        self.desk.abandon()
        self.box.close()
        self.box.end_unrecorded()

    def _task(self) -> NodeTask:
        config, node = self.config, self.node
        is_root = node.parent_id is None
        context = self.session.context
        turn_model = config.root if is_root else config.sub_model
        return NodeTask(
            depth=node.depth,
            question=self.session.question if is_root else "",
            context_kind=context.kind if is_root else "text",
            context_chars=context.size_bytes if is_root else node.prompt_chars,
            context_name=context.name if is_root else "",
            limits=config.limits,
            profile=turn_model.profile,
            sub_profile=config.sub_model.profile,
            root_model=config.root.model,
            sub_model=config.sub_model.model,
            context_window_tokens=turn_model.context_window_tokens,
            tools=config.tools,
            system_prompt=config.system_prompt,
            compaction=config.compaction,
        )


def _conversation(node: Node) -> tuple[int, list[ChatMessage]]:
    """The newest epoch of the node's messages: what the model is shown."""
    rows = list(NodeMessage.objects.filter(node=node).order_by("-epoch", "position"))
    if not rows:
        return 0, []
    epoch = rows[0].epoch
    return epoch, [ChatMessage(row.role, row.content) for row in rows if row.epoch == epoch]  # type: ignore[arg-type]
