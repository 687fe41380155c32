"""Files of a sandbox's workspace, reached from outside without trusting what the sandbox put there.

Every step of a path is opened by itself and without following links, relative to the descriptor of the step before:
a link or a rename made by the sandbox in between leads to an error and never out of the workspace.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
import sys

from sandboxes.errors import InvalidSpec, NotFound, SandboxError

COPY_BYTES = 1024 * 1024
_FICLONE = 0x40049409
_FOLDER = os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_RDONLY


def split_path(path: str) -> list[str]:
    """The names in a relative path. Raises `InvalidSpec` when it could lead out of its folder."""
    if not path or path.startswith("/") or "\0" in path or len(path) > 1000:
        raise InvalidSpec(f"a path in the workspace is relative and at most 1000 characters: {path[:100]!r}")
    names = [name for name in path.split("/") if name not in ("", ".")]
    if not names or ".." in names:
        raise InvalidSpec(f"the path leads out of the workspace: {path[:100]!r}")
    return names


def _open_folder(root: int, names: list[str], *, create: bool) -> int:
    current = os.dup(root)
    try:
        for name in names:
            try:
                following = os.open(name, _FOLDER, dir_fd=current)
            except FileNotFoundError:
                if not create:
                    raise
                os.mkdir(name, 0o755, dir_fd=current)
                following = os.open(name, _FOLDER, dir_fd=current)
            os.close(current)
            current = following
    except OSError:
        os.close(current)
        raise
    return current


def _translate(error: OSError, path: str) -> SandboxError:
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        return NotFound(f"no such file in the workspace: {path}")
    if error.errno == errno.ELOOP:
        return InvalidSpec(f"the path holds a symbolic link, which is not followed: {path}")
    if error.errno == errno.ENOSPC:
        return InvalidSpec(f"no space left in the sandbox for {path}; raise its disk limit")
    return InvalidSpec(f"{path}: {os.strerror(error.errno or 0)}")


def read_file(root: int, path: str, *, offset: int, max_bytes: int) -> tuple[bytes, int]:
    """(at most `max_bytes` from `offset`, size of the file). Raises `NotFound` or `InvalidSpec`."""
    descriptor, size = _open_file(root, path)
    try:
        return os.pread(descriptor, max_bytes, offset), size
    except OSError as error:
        raise _translate(error, path) from error
    finally:
        os.close(descriptor)


def _open_file(root: int, path: str) -> tuple[int, int]:
    """(descriptor, size) of a regular file. Raises `NotFound` or `InvalidSpec`."""
    *folders, name = split_path(path)
    try:
        folder = _open_folder(root, folders, create=False)
        try:
            # Not blocking: the sandbox may have put a FIFO there.
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
            descriptor = os.open(name, flags, dir_fd=folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise _translate(error, path) from error
    info = os.fstat(descriptor)
    if not stat.S_ISREG(info.st_mode):
        os.close(descriptor)
        raise InvalidSpec(f"not a regular file: {path}")
    return descriptor, info.st_size


def fetch_file(root: int, path: str, target: str, *, max_bytes: int) -> int:
    """Copy `path` to the file `target` of the host, which only its owner can read; returns its size in bytes.

    What the sandbox adds meanwhile is not taken. Raises `NotFound` or `InvalidSpec`; `target` is left incomplete then.
    """
    descriptor, size = _open_file(root, path)
    try:
        if size > max_bytes:
            raise InvalidSpec(f"{path} has {size} bytes, more than the {max_bytes} that were asked for")
        try:
            writer = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise InvalidSpec(f"cannot write {target}: {os.strerror(error.errno or 0)}") from error
        try:
            return _send(descriptor, writer, size)
        except OSError as error:
            raise _translate(error, path) from error
        finally:
            os.close(writer)
    finally:
        os.close(descriptor)


def _create(root: int, path: str, mode: int, owner: int) -> int:
    """A new, empty file in the place of whatever `path` names now."""
    *folders, name = split_path(path)
    folder = _open_folder(root, folders, create=True)
    try:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name, dir_fd=folder)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(name, flags, mode, dir_fd=folder)
        if owner >= 0:
            os.fchown(descriptor, owner, owner)
        return descriptor
    finally:
        os.close(folder)


def write_file(root: int, path: str, data: bytes, *, owner: int = -1) -> None:
    """Replace `path` with `data`. Raises `InvalidSpec`."""
    try:
        descriptor = _create(root, path, 0o644, owner)
        with open(descriptor, "wb") as stream:
            stream.write(data)
    except OSError as error:
        raise _translate(error, path) from error


def copy_file(root: int, path: str, source: str, *, owner: int = -1) -> int:
    """Copy a file of the host to `path`, sharing its blocks where the file system can; returns its size in bytes."""
    try:
        with open(source, "rb") as reader:
            if not stat.S_ISREG(os.fstat(reader.fileno()).st_mode):
                raise InvalidSpec(f"not a regular file: {source}")
            try:
                descriptor = _create(root, path, 0o444, owner)
                with open(descriptor, "wb") as writer:
                    return _copy(reader.fileno(), writer.fileno())
            except OSError as error:
                raise _translate(error, path) from error
    except OSError as error:
        raise NotFound(f"cannot read {source}: {os.strerror(error.errno or 0)}") from error


def _copy(source: int, target: int) -> int:
    try:
        fcntl.ioctl(target, _FICLONE, source)
        return os.fstat(target).st_size
    except OSError:
        pass  # another file system, or one without shared blocks
    return _send(source, target, sys.maxsize)


def _send(source: int, target: int, most: int) -> int:
    size = 0
    while size < most and (count := os.sendfile(target, source, size, min(COPY_BYTES, most - size))):
        size += count
    return size
