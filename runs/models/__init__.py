"""Models of the runs room. Read them anywhere; write only through `runs.services`."""

from runs.models.content import Blob, BlobUse, Context
from runs.models.credentials import LmCredential
from runs.models.event import Event
from runs.models.job import Job
from runs.models.journal import LmCall
from runs.models.node import Node, NodeMessage
from runs.models.outbox import OutboxMessage
from runs.models.rollout import Rollout, RolloutBranch
from runs.models.session import Session, SessionMeter
from runs.models.share import Share
from runs.models.step import Step
from runs.models.store import StoreRun

__all__ = [
    "Blob",
    "BlobUse",
    "Context",
    "Event",
    "Job",
    "LmCall",
    "LmCredential",
    "Node",
    "NodeMessage",
    "OutboxMessage",
    "Rollout",
    "RolloutBranch",
    "Session",
    "SessionMeter",
    "Share",
    "Step",
    "StoreRun",
]
