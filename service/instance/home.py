"""The state folder: its lock, and the note that tells others where the servers of a run are."""

import fcntl
import hashlib
import os
import re
import shutil
import stat
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import IO

import msgspec
from msgspec import Struct, structs

from service.instance.children import EmbeddedError, Owner, user_name

# Everything that the program keeps in its state folder; `saxaul reset` removes these and no more.
_KEPT = (
    *("postgres", "postgres.new", "postgres.log", "postgres.log.1"),
    *("redis", "redis.log", "redis.log.1", "running.json", "elsewhere"),
    *("secret-key", "master-key", "development-key.json", "development-key.pem"),
    "demo-metro-secret",
)
_LOG_MAX_BYTES = 10_000_000
# A socket's path has 103 bytes on some systems; 45 are for /saxaul-<12>-postgres/.s.PGSQL.5432.
# What is no such plain word would also have to be quoted in addresses and in a server's own lists.
_PLAIN_BASE = re.compile(r"[\w./-]{1,58}", re.ASCII)
_SHORT_BASE = Path("/tmp")  # noqa: S108 - a folder in it is checked to be ours and private


class Running(Struct, frozen=True):
    """Who uses a state folder, and where its servers listen. `children` maps name to process id.

    Others may use the servers once `is_ready` is set: the database has its tables then.
    """

    pid: int
    what: str
    url: str
    database_url: str
    redis_url: str
    children: dict[str, int]
    is_ready: bool = False


class Home:
    """A state folder on this machine; at most one process holds its lock."""

    def __init__(self, path: Path) -> None:
        """Make the folder if need be. Raises EmbeddedError when nothing can be written there."""
        self.path = path
        self._lock: int | None = None
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            probe = path / f".probe-{os.getpid()}"
            probe.touch()
            probe.unlink()
        except OSError as error:
            raise _unusable(path, error) from error

    def take_lock(self) -> bool:
        """Take the lock, which the kernel frees when this process ends in any way."""
        try:
            descriptor = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise _unusable(self.path, error) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return False
        self._lock = descriptor
        return True

    def free_lock(self) -> None:
        """Let others have the folder."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def note(self, running: Running) -> None:
        """Tell others where the servers of this run listen."""
        draft = self.path / f".running-{os.getpid()}"
        draft.touch(mode=0o600)
        draft.write_bytes(msgspec.json.encode(running))
        draft.replace(self.path / "running.json")

    def note_ready(self) -> None:
        """Tell others that they may use the servers."""
        running = self.read_note()
        assert running is not None
        self.note(structs.replace(running, is_ready=True))

    def forget(self) -> None:
        """Remove the note: no server listens any more."""
        (self.path / "running.json").unlink(missing_ok=True)

    def read_note(self) -> Running | None:
        """The note of the process that holds the lock, or of one that was killed."""
        try:
            return msgspec.json.decode((self.path / "running.json").read_bytes(), type=Running)
        except (FileNotFoundError, msgspec.DecodeError):
            return None

    def open_log(self, name: str) -> IO[bytes]:
        """A file to append a server's output to; it starts anew when it has grown large."""
        path = self.path / f"{name}.log"
        if path.exists() and path.stat().st_size > _LOG_MAX_BYTES:
            path.replace(self.path / f"{name}.log.1")
        return path.open("ab")

    def empty(self, *also: Path) -> None:
        """Remove all state, also what is kept elsewhere. The caller holds the lock."""
        for path in (*also, *(self.path / name for name in _KEPT)):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)


def socket_folder(home: Path, server: str, owner: Owner | None) -> Path:
    """A private folder with a short path for a server's socket, made if need be.

    It depends on the home's path alone, so that a killed run's sockets are found and replaced.
    Raises EmbeddedError when somebody else has made it.
    """
    uid = owner.uid if owner else os.getuid()
    gid = owner.gid if owner else os.getgid()
    base = Path(tempfile.gettempdir())
    if owner is not None or not _PLAIN_BASE.fullmatch(str(base)):
        base = _SHORT_BASE
    path = _socket_path(base, home, server)
    try:
        path.mkdir(mode=0o700)
    except FileExistsError:
        pass
    except OSError as error:
        raise _unusable(base, error) from error
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid not in {uid, os.getuid()}:
        raise EmbeddedError(
            f"{path} belongs to somebody else: remove it, or set SAXAUL_HOME to another folder."
        )
    if found.st_uid != uid:
        os.chown(path, uid, gid)
    path.chmod(0o700)
    return path


def remove_socket_leftovers(home: Path) -> None:
    """Remove the socket folders of a run that was killed; its servers must have ended."""
    for base in (Path(tempfile.gettempdir()), _SHORT_BASE):
        for server in ("postgres", "redis"):
            shutil.rmtree(_socket_path(base, home, server), ignore_errors=True)


def _socket_path(base: Path, home: Path, server: str) -> Path:
    return base / f"saxaul-{hashlib.sha256(os.fsencode(home)).hexdigest()[:12]}-{server}"


def is_there(home: Path, name: str = "") -> bool:
    """Whether there is such a state folder, or this in it. Raises EmbeddedError if it is hidden."""
    try:
        (home / name).stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise _unusable(home, error) from error
    return True


def _unusable(path: Path, error: OSError) -> EmbeddedError:
    for place in (path / "lock", path):
        with suppress(OSError):
            if isinstance(error, PermissionError) and place.stat().st_uid != os.getuid():
                return EmbeddedError(
                    f"the state folder {path} belongs to user {user_name(place.stat().st_uid)}, who"
                    " started it: run as that user, or set SAXAUL_HOME to another folder."
                )
    return EmbeddedError(
        f"cannot write to the state folder {path}: {error.strerror}"
        " (SAXAUL_HOME names another folder)."
    )
