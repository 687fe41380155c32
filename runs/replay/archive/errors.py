"""What can be wrong with an archive.

ArchiveError
├── ArchiveDamaged       the file is not what was written
├── ArchiveVersionError  written in a form that this release does not read
├── ArchiveTooLarge      over a limit
├── ArchiveInvalid       whole, but what it says does not fit together
├── ContentMissing       it names contents that it does not hold
└── CannotExport         it cannot be written
"""

from __future__ import annotations


class ArchiveError(ValueError):
    """An archive cannot be used; the message says why, `way_out` what to do. Nothing was written."""

    way_out = ""

    def __str__(self) -> str:
        return f"{super().__str__()} {self.way_out}".strip()


class ArchiveDamaged(ArchiveError):
    way_out = "Copy or download the archive again, or export the session again."


class ArchiveVersionError(ArchiveError):
    way_out = "Import it with a release of rlmweb that knows this version."


class ArchiveTooLarge(ArchiveError):
    way_out = "Export the session without snapshots, or without its context."


class ArchiveInvalid(ArchiveError):
    way_out = "It was changed after it was exported, or made by something else. Export the session again."


class ContentMissing(ArchiveInvalid):
    """Contents are only ever taken from the archive itself, never from what others have stored here."""


class CannotExport(ArchiveError):
    """The record of the session is not whole."""
