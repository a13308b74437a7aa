"""One process of a simulation: reads its share of the people and decides on their actions anew.

A program of its own (`python -m service.simulate`) that is told what to do on its standard input
and answers on its standard output: so it imports little, burdens no event loop of whoever asks, and
is ended by killing it. Its connection can read only.
"""

import os
import pickle
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import BinaryIO
from uuid import UUID

import asyncpg
import msgspec

from service.rules.compile.draft import compile_rulebook, sha256_of
from service.rules.decide.rulebook import Rulebook
from service.simulate.claims import Refused, Want, resolve_claims
from service.simulate.count import Count
from service.simulate.decide import Draft, Person, Row, Start, VersionMissingError
from service.simulate.draws import Cut, find_cut
from service.simulate.history import (
    PEOPLE_MAX,
    ROWS_A_PAGE,
    Page,
    needs_of,
    read_actions_of,
    read_drawn_before,
    read_page,
    read_starts,
)
from service.simulate.period import Period
from service.simulate.runs import Run, RunLog
from service.simulate.tally import Tally

LENGTH_BYTES = 4


class Setup(msgspec.Struct, frozen=True):
    """Told first of all. Files are the draft's; `as_recorded`: they tell the programme only.

    `versions` decided in the period.
    """

    database_url: str
    secret: bytes
    folder: str
    period: Period
    files: Mapping[str, str]
    as_recorded: bool
    versions: Sequence[int]
    contested: frozenset[str]
    name: str = ""


class Failed(msgspec.Struct, frozen=True):
    """It could not be done; the text is for the log. `is_of_database`: its line or server is."""

    text: str
    is_of_database: bool


def framed(message: object) -> bytes:
    """A message as it goes through a pipe: its length, then itself."""
    data = pickle.dumps(message)
    return len(data).to_bytes(LENGTH_BYTES) + data


async def connect_to_read(database_url: str) -> asyncpg.Connection:
    """A connection on which PostgreSQL refuses every write."""
    return await asyncpg.connect(
        database_url,
        server_settings={
            "application_name": "saxaul simulate",
            "default_transaction_read_only": "on",
            "idle_in_transaction_session_timeout": "60000",
            "statement_timeout": "60000",
            "timezone": "UTC",
            "jit": "off",
        },
    )


class Worker:
    """What one process keeps between orders; each is one of these methods, with its answer."""

    def __init__(self, setup: Setup, connection: asyncpg.Connection) -> None:
        """Compile the draft, once."""
        self._setup = setup
        self._connection = connection
        compiled = compile_rulebook(setup.files).rulebook
        assert compiled is not None
        self._rulebook = compiled
        self._versions: dict[int, Rulebook] = {}
        self._needs = needs_of(compiled, [compiled])
        self._people_max = PEOPLE_MAX
        self._log: RunLog
        self._draft: Draft

    async def prepare(self) -> None:
        """Know all versions beforehand where each action is decided by its own."""
        if self._setup.as_recorded:
            for version in self._setup.versions:
                await self._load(version)
            self._needs = needs_of(self._rulebook, [*self._versions.values()])

    async def begin(self, number: int, cuts: Mapping[str, Cut], refused: str) -> None:
        """A pass: decide with these cuts and refusals from now on."""
        setup = self._setup
        self._log = RunLog(Path(setup.folder) / f"notes-{number}-{setup.name}")
        self._draft = Draft(
            rulebook=None if setup.as_recorded else self._rulebook,
            versions=self._versions,
            secret=setup.secret,
            cuts=cuts,
            refused=Refused(refused),
            contested=setup.contested,
        )

    async def end(self) -> tuple[list[Run], dict[str, int]]:
        """Write down what is noted in the pass; with what was wanted of each budget."""
        return self._log.finish(), self._draft.wanted_g

    async def replay(self, after: UUID, until: UUID) -> Tally:
        """Replay the people with ids in (after, until]."""
        count = Count(self._rulebook.program)
        is_last = False
        while not is_last:
            async with self._connection.transaction(isolation="repeatable_read", readonly=True):
                page = await read_page(
                    self._connection, self._setup.period, after, until, self._people_max
                )
                if page.people:
                    await self._replay_page(page, count)
            after, is_last = page.after, page.is_last
            fitting = self._people_max * ROWS_A_PAGE // max(page.rows, 1)
            self._people_max = max(1, min(PEOPLE_MAX, fitting))
        return count.finish()

    async def _replay_page(self, page: Page, count: Count) -> None:
        starts = await read_starts(self._connection, self._setup.period, page, self._needs)
        person: Person | None = None
        async for records in read_actions_of(self._connection, self._setup.period, page.people):
            for record in records:
                row = Row(*record)
                if person is None or person.id != row.participant_id:
                    start = starts.pop(row.participant_id, None) or Start()
                    person = Person(row.participant_id, start, self._draft, self._log)
                    count.begin(person)
                try:
                    past, given = person.live(row)
                except VersionMissingError:
                    await self._load(row.rulebook_version)
                    past, given = person.live(row)
                count.add(row, past, given)
        count.end()

    async def _load(self, version: int) -> None:
        text = await self._connection.fetchval(
            "SELECT files FROM rulebooks WHERE version = $1", version
        )
        files = msgspec.json.decode(text)
        if sha256_of(files) == self._rulebook.sha256:
            self._versions[version] = self._rulebook
            return
        rulebook = compile_rulebook(files, version).rulebook
        if rulebook is None:
            raise ValueError(f"version {version} of the rules cannot be compiled any more")
        self._versions[version] = rulebook

    async def sum_drawn(self, after: UUID, until: UUID, campaign: str) -> int:
        """What people with ids in (after, until] drew of a budget before the period."""
        drawn_g, is_last = 0, False
        while not is_last:
            grams, after, is_last = await read_drawn_before(
                self._connection, self._setup.period, (after, until), campaign
            )
            drawn_g += grams
        return drawn_g

    async def find_cut(self, runs: Sequence[Run], left_g: int) -> Cut | None:
        """Where a budget with so much left at the start ends."""
        return find_cut(runs, left_g)

    async def resolve_claims(self, runs: Sequence[Run], path: Path) -> tuple[int, bytes]:
        """Who comes too late for a claim: into a file; how many, and its digest."""
        log = RunLog(path.with_suffix(".runs"))
        return await resolve_claims(runs, self._bound_before, log, path)

    async def _bound_before(self, claims: Sequence[bytes]) -> dict[bytes, Want]:
        rows = await self._connection.fetch(_BOUND, claims, self._setup.period.starts_at)
        return {claim: Want.VERIFIED if is_verified else Want(0) for claim, is_verified in rows}


async def serve(orders: BinaryIO, answers: BinaryIO) -> None:
    """Do what is ordered, until the orders end."""
    worker: Worker | None = None
    while head := orders.read(LENGTH_BYTES):
        # From the process that started this one, as its answers are read by that one alone.
        order = pickle.loads(orders.read(int.from_bytes(head)))  # noqa: S301
        answer: object = None
        try:
            if worker is None:
                os.nice(19)  # whatever else the machine does goes before
                worker = Worker(order, await connect_to_read(order.database_url))
                await worker.prepare()
            else:
                name, arguments = order
                answer = await getattr(worker, name)(*arguments)
        except Exception as error:  # noqa: BLE001 - whoever ordered decides what it means
            is_of_database = isinstance(error, _DATABASE_FAULTS)
            answer = Failed(traceback.format_exc(), is_of_database)
        answers.write(framed(answer))
        answers.flush()


_DATABASE_FAULTS = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError)

_BOUND = """
SELECT c.claim_key, a.verified
FROM claims c JOIN actions a ON a.participant_id = c.participant_id AND a.id = c.action_id
WHERE c.claim_key = ANY($1::bytea[]) AND c.bound_at < $2"""
