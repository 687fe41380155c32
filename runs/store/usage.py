"""Who uses a content of the blob store: every place that names one, a function each.

Two questions. Of a session: which contents does it need, by its own rows, events and kept snapshots? (What it *uses*,
`BlobUse`, may be more: what a snapshot needed that was given up since.) Of contents: which of these does anybody use?
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from django.db import connection
from django.db.models import Count

from runs.blobs import BlobStore
from runs.events.types import decode_event
from runs.models import BlobUse, Context, Event, Node, Session
from runs.replay.archive.contents import SnapshotContents, texts_of
from sandboxes.models import Snapshot

PAGE_EVENTS = 5_000
NO_USES: Mapping[str, int] = {}


# What one session needs -------------------------------------------------------------------------------------------------


def needed_by(session: Session, store: BlobStore, *, without: Collection[int] = ()) -> set[str]:
    """Every content that pages, replay and forks of the session may ask for; `without` these snapshots.

    Raises what reading a manifest raises: without it nobody knows what its snapshot needs.
    """
    return (
        {session.context.sha256}
        | node_texts_of(session)
        | event_texts_of(session)
        | snapshot_contents_of(session, store, without=without)
    )


def node_texts_of(session: Session) -> set[str]:
    """Prompts (a child's context, too) and answers."""
    rows = Node.objects.filter(session=session).values_list("prompt_sha256", "answer_sha256")
    return {sha256 for row in rows for sha256 in row if sha256}


def event_texts_of(session: Session) -> set[str]:
    """Long texts of the event log."""
    found: set[str] = set()
    rows = Event.objects.filter(session=session, data__contains="sha256").order_by("seq").values_list("data", flat=True)
    for data in rows.iterator(chunk_size=PAGE_EVENTS):
        found.update(text.sha256 for text in texts_of(decode_event(data)))
    return found


def snapshot_contents_of(session: Session, store: BlobStore, *, without: Collection[int] = ()) -> set[str]:
    """Manifests of the snapshots that are kept, the pieces they name and the contents that those name, and files."""
    kept = Snapshot.objects.filter(session_uuid=session.uuid, kind=Snapshot.Kind.PORTABLE, collected_at=None)
    contents = SnapshotContents(store.get)
    for sha256 in set(kept.exclude(pk__in=without).values_list("manifest_sha256", flat=True)):
        contents.add(sha256)
    return contents.found


# Which of these does anybody use ----------------------------------------------------------------------------------------


def used_among(
    names: Iterable[str], *, given_up: Mapping[str, int] = NO_USES, without: Collection[int] = ()
) -> set[str]:
    """Those of `names` that are in use now.

    A dry run asks what would be: `given_up` says how many sessions would stop using a content, and `without` which
    snapshots would be given up.
    """
    used: set[str] = set()
    left = set(names)
    for place in (_used_by_sessions, _used_as_contexts, _used_by_nodes):
        used |= place(left, given_up)
        left -= used
    return used | _used_as_manifests(left, without)


def _used_by_sessions(names: set[str], given_up: Mapping[str, int]) -> set[str]:
    """By far the most: what events, nodes and snapshots name is recorded for their session in the same transaction."""
    rows = BlobUse.objects.filter(sha256__in=names).values_list("sha256").annotate(Count("pk"))
    return {sha256 for sha256, uses in rows if uses > given_up.get(sha256, 0)}


def _used_as_contexts(names: set[str], given_up: Mapping[str, int]) -> set[str]:
    """Of a team's own, whether or not a session works on them."""
    return set(Context.objects.filter(sha256__in=names).values_list("sha256", flat=True))


def _used_by_nodes(names: set[str], given_up: Mapping[str, int]) -> set[str]:
    if not names:
        return set()
    with connection.cursor() as cursor:
        # One look at the table for both columns.
        cursor.execute(
            "SELECT prompt_sha256, answer_sha256 FROM runs_node WHERE prompt_sha256 = ANY(%s) OR answer_sha256 = ANY(%s)",
            [list(names), list(names)],
        )
        return names & {sha256 for row in cursor.fetchall() for sha256 in row}


def _used_as_manifests(names: set[str], without: Collection[int]) -> set[str]:
    if not names:
        return set()
    kept = Snapshot.objects.filter(manifest_sha256__in=names, collected_at=None).exclude(pk__in=without)
    return set(kept.values_list("manifest_sha256", flat=True))
