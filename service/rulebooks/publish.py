"""Published versions of the rules: stored for ever, one of them active, known to every process.

A version is stored and activated in one transaction; running processes ask twice a second which one
is active, and compile it before they switch, so that a bad one never replaces a good one. Whoever
publishes or activates stands in the audit log, in the same transaction.
"""

import asyncio
import dataclasses
from collections import OrderedDict
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path, PurePath

import structlog

from service.platform.acts import Act
from service.platform.database import DRIVER_FAULTS, Connection, Database
from service.platform.errors import ConflictError, UnavailableError
from service.platform.ids import uuid7
from service.rulebooks.budgets import open_budgets
from service.rulebooks.checked import (
    ACTIVE,
    RulebookInvalidError,
    checked_folder,
    compile_rulebook_or_raise,
    difference_of,
    files_of,
)
from service.rules.compile.draft import Draft, sha256_of
from service.rules.decide.rulebook import Rulebook
from service.rules.language.load import read_folder
from service.rules.tell.changes import RulebookDifference

POLL_S = 0.5
_KEPT_VERSIONS = 16
_log = structlog.get_logger()


class RulebookChangedError(ConflictError):
    """Somebody else published since; nothing was stored."""

    code = "rulebook-changed"
    text = "The draft rests on version {based_on}, but version {active_version} is active now."
    members = ("based_on", "active_version", "diff")
    based_on: int
    active_version: int | None
    # Nothing to tell when one of the two cannot be read.
    diff: RulebookDifference | None


class NoRulebookError(UnavailableError):
    """No rules were ever published."""

    text = "No rulebook is active yet; publish one with `saxaul rules publish`."


async def publish(
    connection: Connection,
    files: Mapping[str, str],
    draft: Draft,
    act: Act,
    *,
    note: str,
    based_on: int | None = None,
    folder_sha256: str | None = None,
) -> int:
    """Store and activate files of which `checked_draft` made this draft; answer the version.

    A check may take long, and so belongs before the transaction. `folder_sha256` remembers what the
    watched folder held. Raises RulebookChangedError.
    """
    await connection.execute(_PATIENCE)
    active = await _lock_active(connection)
    if based_on is not None and based_on != active:
        difference = await difference_of(connection, based_on, active)
        raise RulebookChangedError(based_on, active, difference)
    version: int = await connection.fetchval("SELECT coalesce(max(version), 0) + 1 FROM rulebooks")
    sha256 = sha256_of(files)
    await connection.execute(
        _STORE,
        version,
        bytes.fromhex(sha256),
        {PurePath(name).name: text for name, text in files.items()},
        act.actor,
        note,
        based_on if based_on is not None else active,
        act.now,
    )
    assert draft.rulebook is not None  # else it was not found good
    await _decide_by(connection, version, draft.rulebook, act, folder_sha256)
    detail = {"sha256": sha256, "note": note, "replaced": active}
    await act.log(connection, "rulebook.publish", version, detail)
    return version


async def activate(
    connection: Connection, version: int, act: Act, rulebook: Rulebook | None = None
) -> bool:
    """Make a published version the one that decides, older or newer; False if it is already.

    What the watched folder last published is not forgotten, so that a roll back outlives its next
    start. Call it in a transaction; who knows the version compiled gives it. Raises NotFoundError,
    and RulebookInvalidError for a version that this program cannot read.
    """
    if rulebook is None:
        await connection.execute(_PATIENCE)
        files = await files_of(connection, version)
        rulebook = await asyncio.to_thread(compile_rulebook_or_raise, files, version)
    active = await _lock_active(connection)
    if version == active:
        return False
    await _decide_by(connection, version, rulebook, act)
    await act.log(connection, "rulebook.activate", version, {"replaced": active})
    return True


async def _decide_by(
    connection: Connection, version: int, rulebook: Rulebook, act: Act, folder: str | None = None
) -> None:
    folder_sha256 = None if folder is None else bytes.fromhex(folder)
    await connection.execute(_ACTIVATE, version, folder_sha256)
    await open_budgets(connection, rulebook)
    await connection.execute(_LOG_ACTIVATION, uuid7(act.now), version, act.now, act.actor)


async def publish_folder_if_changed(
    connection: Connection, folder: Path, *, now: datetime, tries_known: bool = False
) -> int | None:
    """Publish a folder unless it is as it was last published from; answer the version if so.

    A version that somebody rolled back to stays, as long as nobody changes its rules; a folder that
    holds the active version already needs no other one. With `tries_known` these too are checked
    and tested, for whoever has just saved something, a scenario perhaps: scenarios refuse rules,
    but are no part of what is published. Raises RulebookInvalidError.
    """
    files, unreadable = read_folder(folder)
    sha256 = sha256_of(files)
    if not tries_known and not unreadable and await _is_known(connection, bytes.fromhex(sha256)):
        return None
    draft = await asyncio.to_thread(checked_folder, folder, files, unreadable)
    await _lock_active(connection)
    if await _is_known(connection, bytes.fromhex(sha256)):
        return None  # it was known before, or another process was quicker
    note, act = f"from the folder {folder.name}", Act("folder", "", now)
    return await publish(connection, files, draft, act, note=note, folder_sha256=sha256)


async def _is_known(connection: Connection, folder_sha256: bytes) -> bool:
    """Whether a folder is as it last published, or holds what is active, which is remembered."""
    row = await connection.fetchrow(_LAST)
    if row is None or folder_sha256 not in row.values():
        return False
    if row["folder_sha256"] != folder_sha256:
        await connection.execute(_REMEMBER, folder_sha256)
    return True


async def _lock_active(connection: Connection) -> int | None:
    """Let one publish at a time; readers go on. Answer the active version."""
    await connection.execute("LOCK TABLE active_rulebook IN SHARE ROW EXCLUSIVE MODE")
    version: int | None = await connection.fetchval(ACTIVE)
    return version


class Rulebooks:
    """The compiled versions that this process knows, and which one decides."""

    def __init__(self, database: Database) -> None:
        """Know nothing yet; `refresh` loads the active version."""
        self._database = database
        self._active: Rulebook | None = None
        self._known: OrderedDict[int, Rulebook] = OrderedDict()
        self._offered: Rulebook | None = None
        self._bad_version: int | None = None
        # Of two looks at once the later one must not be overtaken by the earlier.
        self._looking = asyncio.Lock()

    @property
    def active(self) -> Rulebook:
        """The rulebook that decides now; no I/O. Raises NoRulebookError."""
        if self._active is None:
            raise NoRulebookError
        return self._active

    async def get(self, version: int) -> Rulebook:
        """A published version, for what was decided under it. Raises NotFoundError."""
        known = self._known.get(version)
        if known is not None:
            self._known.move_to_end(version)
            return known
        async with self._database.pool.acquire() as connection:
            return await self._load(connection, version)

    def offer(self, draft: Draft) -> None:
        """Take what was just compiled here to be published, so that it is not compiled again."""
        self._offered = draft.rulebook

    async def refresh(self, connection: Connection) -> bool:
        """Switch to the active version if it is another one; tell whether we did."""
        async with self._looking:
            version: int | None = await connection.fetchval(ACTIVE)
            current = None if self._active is None else self._active.version
            if version is None or version in {current, self._bad_version}:
                return False
            try:
                self._active = self._known.get(version) or await self._load(connection, version)
            except RulebookInvalidError as error:
                # Written for a newer program, perhaps. The last good one goes on deciding.
                self._bad_version = version
                _log.exception("rulebook-unusable", version=version, problem=error.detail)
                return False
            _log.info("rulebook-active", version=version, sha256=self._active.sha256)
            return True

    async def look(self) -> None:
        """Switch at once, for whoever has just published or activated a version here."""
        async with self._database.pool.acquire() as connection:
            await self.refresh(connection)

    async def run(self, poll_s: float = POLL_S) -> None:
        """Follow the active version for as long as this task lives."""
        while True:
            await asyncio.sleep(poll_s)
            try:
                async with self._database.pool.acquire(timeout=poll_s) as connection:
                    await self.refresh(connection)
            except DRIVER_FAULTS as error:
                # The next look mends it; until then the known version decides.
                _log.warning("rulebook-not-refreshed", error=str(error))

    async def _load(self, connection: Connection, version: int) -> Rulebook:
        files = await files_of(connection, version)
        offered = self._offered
        if offered is not None and offered.sha256 == sha256_of(files):
            rulebook, self._offered = dataclasses.replace(offered, version=version), None
        else:
            # A large set takes seconds: requests go on meanwhile, under the version they know.
            rulebook = await asyncio.to_thread(compile_rulebook_or_raise, files, version)
        self._known[version] = rulebook
        while len(self._known) > _KEPT_VERSIONS:
            self._known.popitem(last=False)
        return rulebook


# A large set takes seconds to be checked; a transaction that is idle for so long is ended else.
_PATIENCE = "SELECT set_config('idle_in_transaction_session_timeout', '120s', true)"
_STORE = """
INSERT INTO rulebooks (version, sha256, files, author, note, based_on, created_at)
VALUES ($1, $2, $3, $4, $5, $6, $7)"""
_ACTIVATE = """
INSERT INTO active_rulebook (id, version, folder_sha256) VALUES (1, $1, $2)
ON CONFLICT (id) DO UPDATE SET version = excluded.version,
    folder_sha256 = coalesce(excluded.folder_sha256, active_rulebook.folder_sha256)"""
_LAST = """
SELECT a.folder_sha256, r.sha256 FROM active_rulebook a JOIN rulebooks r USING (version)"""
_REMEMBER = "UPDATE active_rulebook SET folder_sha256 = $1"
_LOG_ACTIVATION = """
INSERT INTO rulebook_activations (id, version, activated_at, activated_by)
VALUES ($1, $2, $3, $4)"""
