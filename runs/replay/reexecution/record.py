"""What the event log says that a cell did: the other side of each comparison."""

from __future__ import annotations

from dataclasses import dataclass, field

from runs.blobs import BlobError, BlobStore
from runs.events.tree import Cell, Step, Tree
from runs.events.types import BlobText, CellOutput, Text, decode_event
from runs.models import Event, LmCall, Node
from runs.models import Step as StepRow

MAX_TEXT_BYTES = 64 * 1024 * 1024


class RecordLost(Exception):
    """A text of the record is not in the store any more."""


@dataclass(slots=True)
class CellRecordView:
    """`subcalls`: kind and number of prompts of each, in order; `prompts` by sub-call and place."""

    stdout: str = ""
    stderr: str = ""
    subcalls: list[tuple[str, int]] = field(default_factory=list)
    prompts: dict[tuple[str, int], Text] = field(default_factory=dict)
    output_known: bool = True


class NodeRecord:
    """The log of one node, by step and cell."""

    def __init__(self, node: Node, tree: Tree, store: BlobStore) -> None:
        self._node = node
        self._tree = tree
        self._store = store
        found = tree.nodes.get(node.number)
        self._steps: dict[int, Step] = {step.step: step for step in found.steps} if found is not None else {}

    def cell(self, step: int, number: int) -> CellRecordView:
        cell = self._logged(step, number)
        if cell is None:
            return CellRecordView()
        view = CellRecordView()
        try:
            view.stdout, view.stderr = self._output(step, cell)
        except RecordLost:
            view.output_known = False
        for subcall in cell.subcalls:
            view.subcalls.append((subcall.kind, subcall.count))
            for call in subcall.calls:
                if call.prompt is not None:
                    view.prompts[subcall.subcall, call.index] = call.prompt
            for child in subcall.children:
                opened = self._tree.nodes[child]
                view.prompts[subcall.subcall, opened.index] = opened.prompt
        return view

    def _logged(self, step: int, number: int) -> Cell | None:
        found = self._steps.get(step)
        return next((cell for cell in found.cells if cell.cell == number), None) if found is not None else None

    def _output(self, step: int, cell: Cell) -> tuple[str, str]:
        chunks = [(chunk.stream, chunk.text) for chunk in cell.output if not chunk.late]
        if cell.omitted_chunks:
            chunks = self._all_chunks(step, cell)
        texts = {"stdout": "", "stderr": ""}
        for stream in texts:
            texts[stream] = "".join(self.text(text) for name, text in chunks if name == stream)
        return texts["stdout"], texts["stderr"]

    def _all_chunks(self, step: int, cell: Cell) -> list[tuple[str, Text]]:
        """From the log itself: the tree keeps only some of a cell's output."""
        rows = Event.objects.filter(
            session=self._node.session, node=self._node.number, type="cell.output", seq__gt=cell.seq
        )
        events = (decode_event(row.data) for row in rows.order_by("seq").iterator())
        return [
            (event.stream, event.text)
            for event in events
            if isinstance(event, CellOutput) and (event.step, event.cell) == (step, cell.cell) and not event.late
        ]

    def text(self, text: Text) -> str:
        """The whole of it. Raises `RecordLost`."""
        if not isinstance(text, BlobText):
            return text
        try:
            return self._store.slice(text.sha256, 0, MAX_TEXT_BYTES).decode("utf-8", "replace")
        except BlobError as error:
            raise RecordLost(str(error)) from error

    # Is the journal, which is executed, what the log says that was executed? --------------------------------------

    def changed_since(self, row: StepRow, codes: dict[int, str]) -> str:
        """Where the journal of a step and its log contradict each other, in words; empty when they agree."""
        try:
            for number, code in codes.items():
                cell = self._logged(row.number, number)
                if cell is not None and self.text(cell.code) != code:
                    return f"changed code: the log has other code for cell {number} than the step that was executed"
            for call in LmCall.objects.filter(step=row, kind="leaf", status=LmCall.Status.FINISHED):
                logged = self._tree.calls.get(call.number)
                if logged is not None and logged.reply is not None and self.text(logged.reply) != call.reply:
                    return f"changed reply: the log has another reply to call {call.number} than the journal"
        except RecordLost as error:
            return f"missing content: {error}"
        return self._changed_context()

    def _changed_context(self) -> str:
        if self._node.parent_id is not None:
            return ""
        recorded, now = self._tree.context.get("sha256"), self._node.session.context.sha256
        return "" if not recorded or recorded == now else "changed context: the session had another one when it ran"
