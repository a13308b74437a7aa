"""Follows the rules folder: what an operator saves is tested and, if it is good, published.

Scenarios are looked at too: one that fails refuses the rules, and when it is mended they are
published. A look costs four listings and one stat a file. Files are read only after nothing has
moved between two looks, so that half-written ones and those that an editor is just exchanging are
left alone.
"""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import asyncpg
import structlog

from service.platform.clock import Clock
from service.platform.database import DRIVER_FAULTS, speak_json
from service.rulebooks.checked import ACTIVE, RulebookInvalidError, difference_of
from service.rulebooks.publish import publish_folder_if_changed
from service.rules.language.load import rule_paths
from service.rules.trial.check import strangers_in
from service.rules.trial.scenarios import FOLDER as SCENARIOS

LOOK_S = 0.2
_AGAIN_S = 2.0
_LINES_MAX = 20
_log = structlog.get_logger()

Seen = tuple[tuple[str, int, int, int], ...]


class FolderWatcher:
    """Publishes one folder whenever its content differs from what it last published."""

    def __init__(self, folder: Path, database_url: str, say: Callable[[str], None]) -> None:
        """`say` prints a line for whoever edits the folder."""
        self._folder = folder
        self._database_url = database_url
        self._say = say
        # What the last look saw, and what was last published or found to be bad.
        self._last: Seen | None = None
        self._settled: Seen | None = None
        # Whether somebody waits to hear that what was told is mended.
        self._is_bad = False
        self._strangers: list[str] = []

    async def publish(self, *, is_saved: bool = False) -> bool:
        """Publish the folder if it changed; False if it is bad and no version is active yet.

        A bad folder leaves the last good version; what is wrong with it is told.
        """
        self._settled = seen_in(self._folder)
        connection = await asyncpg.connect(self._database_url)
        try:
            await speak_json(connection)
            return await self._publish(connection, is_saved=is_saved)
        finally:
            await connection.close()

    async def run(self) -> None:
        """Look again and again, for as long as this task lives."""
        while True:
            await asyncio.sleep(LOOK_S)
            try:
                await self.look()
            except DRIVER_FAULTS as error:
                # The database is away: the next look tries again.
                self._settled = None
                _log.warning("rules_folder_not_published", error=str(error))
                await asyncio.sleep(_AGAIN_S)

    async def look(self) -> None:
        """Look once, and publish what has changed and not moved since the look before."""
        seen = seen_in(self._folder)
        has_moved, self._last = seen != self._last, seen
        if seen != self._settled and not has_moved:
            await self.publish(is_saved=True)

    async def _publish(self, connection: asyncpg.Connection, *, is_saved: bool) -> bool:
        clock = Clock()
        await clock.refresh(connection)
        before: int | None = await connection.fetchval(ACTIVE)
        strangers = [str(problem) for problem in strangers_in(self._folder)]
        self._tell([line for line in strangers if line not in self._strangers])
        self._strangers = strangers
        try:
            async with connection.transaction():
                version = await publish_folder_if_changed(
                    connection, self._folder, now=clock.now(), tries_known=is_saved
                )
        except RulebookInvalidError as error:
            self._is_bad = True
            # What refuses it must not be lost behind a page of warnings.
            problems = sorted(error.problems, key=lambda problem: problem.severity != "error")
            self._tell([str(problem) for problem in problems])
            if before is not None:
                self._say(f"rules: version {before} goes on deciding")
            return before is not None
        if version is not None:
            self._say(f"rules: {self._folder} is published as version {version}")
            # The version before may be written for another program.
            if before and (found := await difference_of(connection, before, version)):
                self._tell([line for line, _ in found.lines()])
        elif self._is_bad:
            active = await connection.fetchval(ACTIVE)
            told = f"{self._folder} is good again, with nothing to publish"
            self._say(f"rules: {told}; version {active} decides")
        self._is_bad = False
        return True

    def _tell(self, lines: list[str]) -> None:
        for line in lines[:_LINES_MAX]:
            self._say(line)
        if lines[_LINES_MAX:]:
            self._say(f"... and {len(lines) - _LINES_MAX} lines more")


def seen_in(folder: Path) -> Seen:
    """What tells one content of the folder from another without reading it; empty without it."""
    strangers = ((str(problem), 0, 0, 0) for problem in strangers_in(folder))
    beside = _states_in(folder / SCENARIOS, f"{SCENARIOS}/")
    return (*_states_in(folder, ""), *beside, *strangers)


def _states_in(folder: Path, prefix: str) -> Iterator[tuple[str, int, int, int]]:
    try:
        paths = rule_paths(folder)
    except OSError:
        return
    for path in paths:
        name = prefix + path.name
        try:
            state = path.stat()
        except OSError:
            yield name, 0, 0, 0
        else:
            yield name, state.st_ino, state.st_size, state.st_mtime_ns
