"""As root: which user PostgreSQL runs as, and a place that this user can reach.

PostgreSQL refuses to run as root. The clone of a developer who is root often lies below a folder
of mode 700 (/root itself), where another user reaches neither the wheel's programs nor the state
folder; both then go to /var/lib/saxaul, and the state folder keeps a pointer.
"""

import hashlib
import os
import pwd
import shutil
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path

from service.instance.children import EmbeddedError, Owner, user_name

_USER = "saxaul"
_ELSEWHERE = Path("/var/lib/saxaul")


def find_owner(data: Path) -> Owner | None:
    """The user for PostgreSQL: None for ourselves, as root the owner of the data or a user of ours.

    Raises EmbeddedError when the data belong to another user.
    """
    uid = os.getuid()
    found = data.stat() if data.exists() else None
    if uid != 0:
        if found and found.st_uid != uid:
            raise EmbeddedError(
                f"the state in {data.parent} was made by another user ({user_name(found.st_uid)}):"
                " run as that user or as root, or set SAXAUL_HOME to another folder."
            )
        return None
    if found and found.st_uid != 0:
        return Owner(uid=found.st_uid, gid=found.st_gid, name=user_name(found.st_uid))
    entry = _entry(_USER) or _made_user() or _entry("nobody")
    if entry is None:
        raise EmbeddedError(
            "PostgreSQL does not run as root, and no other user could be made:"
            " run as an ordinary user, or set SAXAUL_DATABASE_URL."
        )
    return Owner(uid=entry.pw_uid, gid=entry.pw_gid, name=entry.pw_name)


def data_folder(home: Path) -> Path:
    """Where PostgreSQL's data are: in the home, or where its pointer says."""
    pointer = home / "elsewhere"
    if not pointer.exists():
        return home / "postgres"
    place = _read_path(pointer)
    _claim(place, home)
    return place / "postgres"


def reachable_data_folder(home: Path, owner: Owner | None) -> Path:
    """`data_folder`, moved for a new home where the owner could not reach it. Makes its parent."""
    data = data_folder(home)
    if owner is None or data.exists() or data.parent != home:
        return data
    home.chmod(home.stat().st_mode | 0o011)
    if can_reach(home, owner):
        return data
    place = _ELSEWHERE / hashlib.sha256(os.fsencode(home)).hexdigest()[:12]
    try:
        place.mkdir(mode=0o711, parents=True, exist_ok=True)
        (place / "home").write_bytes(os.fsencode(f"{home}\n"))
        (home / "elsewhere").write_bytes(os.fsencode(f"{place}\n"))
    except OSError as error:
        raise EmbeddedError(
            f"user {owner.name}, as whom PostgreSQL runs, can reach neither {home} nor {place}"
            f" ({error.strerror}): set SAXAUL_HOME to a folder that everybody can enter."
        ) from error
    return place / "postgres"


def reachable_programs(programs: Path, owner: Owner | None) -> Path:
    """The folder of PostgreSQL's programs, copied once a version where the owner cannot reach it.

    The copy keeps the places of programs and libraries relative to each other: they are linked so.
    """
    if owner is None or can_reach(programs / "bin", owner):
        return programs / "bin"
    wheel = programs.parent
    libraries = wheel.with_name(f"{wheel.name}.libs")
    version = hashlib.sha256((programs / "bin" / "postgres").read_bytes()).hexdigest()[:12]
    copy = _ELSEWHERE / f"programs-{version}"
    result = copy / wheel.name / programs.name / "bin"
    if result.exists():
        return result
    try:
        _ELSEWHERE.mkdir(mode=0o755, parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(dir=_ELSEWHERE))
        shutil.copytree(
            programs, draft / wheel.name / programs.name, ignore=shutil.ignore_patterns("include")
        )
        shutil.copytree(libraries, draft / libraries.name)
        draft.chmod(0o755)
        # Whoever comes second finds the place taken by the same programs.
        with suppress(OSError):
            draft.rename(copy)
        shutil.rmtree(draft, ignore_errors=True)
    except OSError as error:
        raise EmbeddedError(
            f"user {owner.name}, as whom PostgreSQL runs, cannot reach {programs}, and a copy to"
            f" {_ELSEWHERE} failed ({error.strerror}): run as an ordinary user, or from elsewhere."
        ) from error
    return result


def can_reach(folder: Path, owner: Owner) -> bool:
    """Whether this user can enter a folder, tried rather than computed: ACLs and mounts count."""
    tried = subprocess.run(
        ["/bin/sh", "-c", 'cd "$1"', "sh", str(folder)],
        user=owner.uid,
        group=owner.gid,
        extra_groups=[],
        cwd="/",
        capture_output=True,
        check=False,
    )
    return tried.returncode == 0


def _claim(place: Path, home: Path) -> None:
    """A copied clone must not use, or reset, the data of the original; a moved one may."""
    note = place / "home"
    first = _read_path(note) if note.exists() else home
    if first == home:
        return
    pointer = first / "elsewhere"
    if pointer.exists() and _read_path(pointer) == place:
        raise EmbeddedError(
            f"{home} is a copy of {first}, whose data lie in {place}:"
            f" remove {home / 'elsewhere'} to start with empty data."
        )
    note.write_bytes(os.fsencode(f"{home}\n"))


def _read_path(note: Path) -> Path:
    """The folder that a note names: a name may hold anything, also at its end, but this line's."""
    return Path(os.fsdecode(note.read_bytes().removesuffix(b"\n")))


def _entry(name: str) -> pwd.struct_passwd | None:
    try:
        return pwd.getpwnam(name)
    except KeyError:
        return None


def _made_user() -> pwd.struct_passwd | None:
    program = shutil.which("useradd", path="/usr/sbin:/sbin:/usr/bin:/bin")
    if program is None:
        return None
    arguments = ["--system", "--no-create-home", "--home-dir", "/nonexistent"]
    arguments += ["--shell", "/usr/sbin/nologin", "--comment", "Saxaul's embedded PostgreSQL"]
    # It may fail because another process of ours makes the same user at this moment.
    subprocess.run([program, *arguments, _USER], capture_output=True, check=False)
    return _entry(_USER)
