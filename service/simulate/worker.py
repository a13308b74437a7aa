"""One process of a simulation: reads its share of the people and decides on their actions anew.

A program of its own (`python -m service.simulate.worker`) that is told what to do on its
standard input and answers on its standard output: so it imports little, burdens no event loop of
whoever asks, and is ended by killing it. Its connection can read only.
"""

import asyncio
import os
import sys
import traceback
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import BinaryIO
from uuid import UUID

import asyncpg
import msgspec
from msgspec import Struct

from service.rules.compile.draft import compile_rulebook, sha256_of
from service.simulate.claims import Refused, Want, resolve_claims
from service.simulate.count import Count
from service.simulate.decide import Draft, Person, Row, Start, VersionMissingError
from service.simulate.draws import Cut, find_cut
from service.simulate.history import (
    PEOPLE_MAX,
    ROWS_A_PAGE,
    Page,
    decode_awards,
    needs_of,
    read_actions_of,
    read_drawn_before,
    read_page,
    read_starts,
)
from service.simulate.period import Period
from service.simulate.runs import Run, RunLog
from service.simulate.tally import Tally

_LENGTH_BYTES = 4


class Setup(Struct, tag=True):
    """Once, first of all. Files are the draft's; `as_recorded`: they tell the programme only.

    `versions` decided in the period.
    """

    database_url: str
    secret: bytes
    folder: str
    name: str
    period: Period
    files: dict[str, str]
    as_recorded: bool
    versions: list[int]
    contested: frozenset[str]
    nice: int


class BeginPass(Struct, tag=True):
    """Decide with these cuts and refusals from now on."""

    number: int
    cuts: dict[str, Cut]
    refused: str


class Share(Struct, tag=True):
    """Replay the people with ids in (after, until]."""

    after: UUID
    until: UUID


class EndPass(Struct, tag=True):
    """Write down what is noted."""


class SumDrawn(Struct, tag=True):
    """What people with ids in (after, until] drew of a budget before the period."""

    campaign: str
    after: UUID
    until: UUID


class FindCut(Struct, tag=True):
    """Where a budget with so much left at the start ends."""

    runs: list[Run]
    left_g: int


class ResolveClaims(Struct, tag=True):
    """Who comes too late for a claim: into a file."""

    runs: list[Run]
    path: str


Order = Setup | BeginPass | Share | EndPass | SumDrawn | FindCut | ResolveClaims


class Done(Struct, tag=True):
    """The answer to an order; what it says depends on which one."""

    tally: Tally | None = None
    runs: tuple[Run, ...] = ()
    wanted_g: dict[str, int] = {}
    cut: Cut | None = None
    number: int = 0
    digest: bytes = b""


class Failed(Struct, tag=True):
    """It could not be done; the text is for the log. `is_of_database`: its line or server is."""

    text: str
    is_of_database: bool


Answer = Done | Failed

encode = msgspec.msgpack.Encoder().encode
_decode_answer = msgspec.msgpack.Decoder(Answer).decode
_decode_order = msgspec.msgpack.Decoder(Order).decode


def decode_answer(data: bytes) -> Answer:
    """An answer from its bytes."""
    answer: Answer = _decode_answer(data)
    return answer


def framed(message: Order | Answer) -> bytes:
    """A message as it goes through a pipe: its length, then itself."""
    data = encode(message)
    return len(data).to_bytes(_LENGTH_BYTES) + data


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
    """What one process keeps between orders."""

    def __init__(
        self,
        setup: Setup,
        connection: asyncpg.Connection,
    ) -> None:
        """Compile the draft, once."""
        self._setup = setup
        self._connection = connection
        self._folder = Path(setup.folder)
        compiled = compile_rulebook(setup.files).rulebook
        assert compiled is not None
        self._rulebook = compiled
        self._draft = Draft(
            rulebook=None if setup.as_recorded else compiled,
            versions={},
            secret=setup.secret,
            cuts={},
            refused=Refused(""),
            contested=setup.contested,
        )
        self._needs = needs_of(compiled, [compiled])
        self._log = self._log_of("notes")
        self._people_max = PEOPLE_MAX

    async def do(self, order: Order) -> Done:
        """Carry out an order."""
        if isinstance(order, Share):
            return Done(tally=await self._replay(order.after, order.until))
        if isinstance(order, BeginPass):
            self._log = self._log_of(f"notes-{order.number}")
            self._draft.cuts, self._draft.refused = order.cuts, Refused(order.refused)
            self._draft.wanted_g = {}
            return Done()
        if isinstance(order, EndPass):
            return Done(runs=tuple(self._log.finish()), wanted_g=self._draft.wanted_g)
        if isinstance(order, FindCut):
            return Done(cut=find_cut(order.runs, order.left_g))
        if isinstance(order, SumDrawn):
            return Done(number=await self._sum_drawn(order))
        assert isinstance(order, ResolveClaims)
        bound = partial(_bound_before, self._connection, self._setup.period)
        path = Path(order.path)
        log = RunLog(path.with_suffix(".runs"))
        refused, digest = await resolve_claims(order.runs, bound, log, path)
        return Done(number=refused, digest=digest)

    def _log_of(self, what: str) -> RunLog:
        return RunLog(self._folder / f"{what}-{self._setup.name}")

    async def _replay(self, after: UUID, until: UUID) -> Tally:
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
                if row.kind == "reversal":
                    count.reversal(row, *person.reverse(row))
                    continue
                past = decode_awards(row.awards)
                while True:
                    try:
                        given = person.act(row, past)
                        break
                    except VersionMissingError as error:
                        await self._load(error.version)
                count.action(row, past, given)
        count.end()

    async def prepare(self) -> None:
        """Know all versions beforehand where each action is decided by its own."""
        if self._setup.as_recorded:
            for version in self._setup.versions:
                await self._load(version)
            self._needs = needs_of(self._rulebook, [*self._draft.versions.values()])

    async def _load(self, version: int) -> None:
        text = await self._connection.fetchval(
            "SELECT files FROM rulebooks WHERE version = $1", version
        )
        files = msgspec.json.decode(text)
        if sha256_of(files) == self._rulebook.sha256:
            self._draft.versions[version] = self._rulebook
            return
        rulebook = compile_rulebook(files, version).rulebook
        if rulebook is None:
            raise ValueError(f"version {version} of the rules cannot be compiled any more")
        self._draft.versions[version] = rulebook

    async def _sum_drawn(self, order: SumDrawn) -> int:
        drawn_g, after, is_last = 0, order.after, False
        while not is_last:
            grams, after, is_last = await read_drawn_before(
                self._connection, self._setup.period, (after, order.until), order.campaign
            )
            drawn_g += grams
        return drawn_g


async def _bound_before(
    connection: asyncpg.Connection, period: Period, claims: Sequence[bytes]
) -> dict[bytes, Want]:
    rows = await connection.fetch(_BOUND, claims, period.starts_at)
    return {claim: Want.VERIFIED if is_verified else Want(0) for claim, is_verified in rows}


async def _serve(orders: BinaryIO, answers: BinaryIO) -> None:
    """Do what is ordered, until the orders end."""
    worker: Worker | None = None
    while head := orders.read(_LENGTH_BYTES):
        order = _decode_order(orders.read(int.from_bytes(head)))
        answer: Answer = Done()
        try:
            if isinstance(order, Setup):
                os.nice(order.nice)
                connection = await connect_to_read(order.database_url)
                worker = Worker(order, connection)
                await worker.prepare()
            elif worker is not None:
                answer = await worker.do(order)
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

if __name__ == "__main__":
    asyncio.run(_serve(sys.stdin.buffer, sys.stdout.buffer))
