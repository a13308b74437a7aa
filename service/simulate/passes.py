"""Replays the recorded actions of a period under a draft of the rules, beside what was paid.

People are divided among processes by ranges of their random ids; each reads its people page by page
and decides on their actions anew. What is over all people, budgets and claims, needs an order that
no process sees: a pass notes who wants what, the notes are merged in the order of then, and the
next pass knows where each budget ends and who comes too late. Each pass is right at least up to the
first place where the one before was wrong, and a pass that confirms what it was told is right to
the gram. Without a budget that runs out, or a claim that is new, one pass is all.

Nothing is written but notes in a temporary folder: the connections can read only.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from uuid import UUID

import asyncpg
import msgspec

from service.platform.errors import UnavailableError
from service.rules.compile.draft import compile_rulebook
from service.rules.decide.rulebook import Rulebook
from service.simulate.claims import CLAIMS
from service.simulate.draws import Cut
from service.simulate.period import Period
from service.simulate.runs import Run
from service.simulate.tally import Tally
from service.simulate.worker import (
    BeginPass,
    Done,
    EndPass,
    Failed,
    FindCut,
    Order,
    ResolveClaims,
    Setup,
    Share,
    SumDrawn,
    connect_to_read,
    decode_answer,
    framed,
)

PASSES_MAX = 12

_SHARES_A_PROCESS = 8
_PEOPLE_A_SHARE = 500
_SHARES_MAX = 4_096
_IDS = 2**128
# Processes that were slow to switch decided by a version for this long after the next came.
_SWITCHED_WITHIN_S = 60


class SimulationError(Exception):
    """A process of the simulation failed; the text is for the log."""


class SimulationCutOffError(UnavailableError):
    """PostgreSQL went away from a process of the simulation."""

    text = "The database went away; simulate again."


@dataclass(frozen=True, slots=True)
class Progress:
    """How far it is: in which pass, which part of its people, how many actions so far in all."""

    pass_number: int
    part_done: float
    actions: int


@dataclass(frozen=True, slots=True)
class Trial:
    """What is tried. `as_recorded`: each action by the version that decided it, as a self-check."""

    draft: Rulebook
    files: Mapping[str, str]
    period: Period
    as_recorded: bool = False


@dataclass(frozen=True, slots=True)
class Simulation:
    """What came out. Not `settled`: budgets or claims kept changing each other."""

    trial: Trial
    tally: Tally
    budgets: Mapping[str, int]
    ended: frozenset[str]
    passes: int
    settled: bool
    # Campaigns whose versions in the period had different budgets, of which only the last is known.
    rebudgeted: tuple[str, ...] = ()


@dataclass(slots=True)
class _Known:
    """What the passes know of what is over all people."""

    cuts: dict[str, Cut] = field(default_factory=dict)
    refused: str = ""
    refused_digest: bytes = b""
    drawn_before: dict[str, int] = field(default_factory=dict)


async def simulate(
    database_url: str,
    trial: Trial,
    *,
    secret: bytes,
    processes: int | None = None,
    nice: int = 0,
    on_progress: Callable[[Progress], None] = lambda _: None,
) -> Simulation:
    """Replay the period. Raises SimulationError, SimulationCutOffError.

    Cancelling it ends its processes.
    """
    connection = await connect_to_read(database_url)
    try:
        versions = await _deciding_versions(connection, trial.period)
        with tempfile.TemporaryDirectory(prefix="saxaul-simulate-") as folder:
            setup = Setup(
                database_url,
                secret,
                folder,
                "",
                trial.period,
                dict(trial.files),
                trial.as_recorded,
                list(versions),
                _contested(trial, versions),
                nice,
            )
            async with _crew(setup, processes or os.cpu_count() or 1) as crew:
                passes = _Passes(connection, trial, setup, crew, on_progress)
                shares = await _shares(connection, crew)
                simulation = await passes.run(_budgets(trial, versions), shares)
                return replace(simulation, rebudgeted=_rebudgeted(trial, versions))
    except ExceptionGroup as group:
        if group.subgroup(SimulationCutOffError) is None:
            raise
        raise SimulationCutOffError from group
    finally:
        await connection.close()


class _Process:
    """One worker and the pipe to it."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    async def ask(self, order: Order) -> Done:
        """Let it do something. Raises SimulationError."""
        orders, answers = self.process.stdin, self.process.stdout
        assert orders is not None
        assert answers is not None
        try:
            orders.write(framed(order))
            await orders.drain()
            length = int.from_bytes(await answers.readexactly(4))
            answer = decode_answer(await answers.readexactly(length))
        except (OSError, asyncio.IncompleteReadError) as error:
            raise SimulationError("a process of the simulation ended") from error
        if isinstance(answer, Failed):
            failed = SimulationError(answer.text)
            if answer.is_of_database:
                raise SimulationCutOffError from failed
            raise failed
        return answer


@asynccontextmanager
async def _crew(setup: Setup, processes: int) -> AsyncIterator[list[_Process]]:
    """So many processes, set up; killed at the end, whatever it is."""
    crew: list[_Process] = []
    command = (sys.executable, "-m", "service.simulate.worker")
    try:
        for _ in range(processes):
            process = await asyncio.create_subprocess_exec(
                *command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
            )
            crew.append(_Process(process))
        async with asyncio.TaskGroup() as starting:
            for number, member in enumerate(crew):
                mine = msgspec.structs.replace(setup, name=str(number))
                starting.create_task(member.ask(mine))
        yield crew
    finally:
        for member in crew:
            if member.process.returncode is None:
                member.process.kill()
        await asyncio.gather(*(member.process.wait() for member in crew))


class _Passes:
    """Pass after pass, until one confirms what it was told."""

    def __init__(
        self,
        connection: asyncpg.Connection,
        trial: Trial,
        setup: Setup,
        crew: Sequence[_Process],
        on_progress: Callable[[Progress], None],
    ) -> None:
        self._connection = connection
        self._trial = trial
        self._setup = setup
        self._crew = crew
        self._on_progress = on_progress
        self._known = _Known()
        self._actions = 0

    async def run(
        self, budgets: Mapping[str, int], shares: Sequence[tuple[UUID, UUID]]
    ) -> Simulation:
        settled, number = False, 0
        tally = Tally()
        while not settled and number < PASSES_MAX:
            number += 1
            tally, runs, wanted_g = await self._replay(number, shares)
            cuts = {}
            for name, budget_g in budgets.items():
                mine = [run for run in runs if run.name == name]
                left_g = await self._left(name, budget_g, wanted_g.get(name, 0), tally, shares)
                if left_g is not None:
                    found = await self._crew[0].ask(FindCut(mine, left_g))
                    if found.cut is not None:
                        cuts[name] = found.cut
            same_claims = await self._same_claims(number, [r for r in runs if r.name == CLAIMS])
            settled = cuts == self._known.cuts and same_claims
            ended, self._known.cuts = frozenset(self._known.cuts), cuts
        return Simulation(self._trial, tally, budgets, ended, number, settled)

    async def _replay(
        self, number: int, shares: Sequence[tuple[UUID, UUID]]
    ) -> tuple[Tally, list[Run], dict[str, int]]:
        """One pass over all people."""
        begin = BeginPass(number, self._known.cuts, self._known.refused)
        await self._all([begin] * len(self._crew))
        tally, done = Tally(), 0
        waiting = [Share(*share) for share in reversed(shares)]

        async def work(process: _Process) -> None:
            nonlocal done
            while waiting:
                answer = await process.ask(waiting.pop())
                assert answer.tally is not None
                tally.add(answer.tally)
                done += 1
                self._actions += answer.tally.actions + answer.tally.reversals
                self._on_progress(Progress(number, done / len(shares), self._actions))

        async with asyncio.TaskGroup() as working:
            for process in self._crew:
                working.create_task(work(process))
        runs: list[Run] = []
        wanted_g: dict[str, int] = {}
        for answer in await self._all([EndPass()] * len(self._crew)):
            runs += answer.runs
            for name, grams in answer.wanted_g.items():
                wanted_g[name] = wanted_g.get(name, 0) + grams
        return tally, runs, wanted_g

    async def _all(self, orders: Sequence[Order]) -> list[Done]:
        """Each process gets its order."""
        return await asyncio.gather(
            *(process.ask(order) for process, order in zip(self._crew, orders, strict=True))
        )

    async def _left(
        self,
        name: str,
        budget_g: int,
        wanted_g: int,
        tally: Tally,
        shares: Sequence[tuple[UUID, UUID]],
    ) -> int | None:
        """What a budget had left when the period began; None when it surely suffices.

        What was ever drawn less what was drawn in the period is at least what was drawn before it;
        only when that is too much are the actions before the period read.
        """
        ever_g = await self._connection.fetchval(_DRAWN_EVER, name) or 0
        drew = tally.campaigns.get(name)
        others_g = max(ever_g - (drew.drew_g if drew else 0), 0)
        if wanted_g + others_g <= budget_g:
            return None
        if name not in self._known.drawn_before:
            self._known.drawn_before[name] = (
                await self._drawn_before(name, shares) if others_g else 0
            )
        return max(budget_g - self._known.drawn_before[name], 0)

    async def _drawn_before(self, name: str, shares: Sequence[tuple[UUID, UUID]]) -> int:
        waiting = [SumDrawn(name, *share) for share in shares]

        async def work(process: _Process) -> int:
            drawn_g = 0
            while waiting:
                drawn_g += (await process.ask(waiting.pop())).number
            return drawn_g

        return sum(await asyncio.gather(*(work(process) for process in self._crew)))

    async def _same_claims(self, number: int, runs: list[Run]) -> bool:
        """Resolve claims; whether it comes out as this pass was told."""
        if not self._setup.contested:
            return True
        path = str(Path(self._setup.folder) / f"refused-{number}")
        answer = await self._crew[0].ask(ResolveClaims(runs, path))
        before = self._known.refused_digest
        self._known.refused, self._known.refused_digest = path, answer.digest
        return answer.digest == before or (not before and not answer.number)


async def _deciding_versions(connection: asyncpg.Connection, period: Period) -> dict[int, Rulebook]:
    """The versions that may have decided in the period, in the order in which they came."""
    rows = await connection.fetch(_DECIDING, period.starts_at, period.ends_at, _SWITCHED_WITHIN_S)
    versions: dict[int, Rulebook] = {}
    for row in rows:
        files = msgspec.json.decode(row["files"])
        rulebook = (await asyncio.to_thread(compile_rulebook, files, row["version"])).rulebook
        if rulebook is not None:
            versions[row["version"]] = rulebook
    return versions


def _contested(trial: Trial, versions: Mapping[int, Rulebook]) -> frozenset[str]:
    """Types of which something is paid once under the draft that was not under every version."""
    if trial.as_recorded:
        return frozenset()
    return frozenset(
        name
        for name, kind in trial.draft.action_types.items()
        if kind.claim is not None
        and not (
            versions
            and all(
                (then := version.action_types.get(name)) is None or then.claim == kind.claim
                for version in versions.values()
            )
        )
    )


def _budgets(trial: Trial, versions: Mapping[int, Rulebook]) -> dict[str, int]:
    """Budgets in grams by campaign: the draft's, or the last that held in the period."""
    rulebooks = [*versions.values()] if trial.as_recorded else [trial.draft]
    return {
        campaign.id: campaign.budget_g
        for rulebook in rulebooks
        for campaign in rulebook.campaigns.values()
        if campaign.budget_g is not None
    }


def _rebudgeted(trial: Trial, versions: Mapping[int, Rulebook]) -> tuple[str, ...]:
    """Campaigns whose budget differs between the versions that decide; a draft is one alone."""
    budgets: dict[str, set[int | None]] = {}
    for rulebook in versions.values() if trial.as_recorded else ():
        for campaign in rulebook.campaigns.values():
            budgets.setdefault(campaign.id, set()).add(campaign.budget_g)
    return tuple(sorted(name for name, different in budgets.items() if len(different) > 1))


async def _shares(
    connection: asyncpg.Connection, crew: Sequence[_Process]
) -> list[tuple[UUID, UUID]]:
    """Ranges (after, until] of participant ids, which are random, so of about as many people."""
    people = await connection.fetchval(_PEOPLE)
    count = max(len(crew) * _SHARES_A_PROCESS, min(people // _PEOPLE_A_SHARE, _SHARES_MAX))
    edges = [UUID(int=min(_IDS * part // count, _IDS - 1)) for part in range(count + 1)]
    return [*pairwise(edges)]


_DECIDING = """
WITH deciding AS (
    SELECT version, activated_at, lead(activated_at) OVER (ORDER BY activated_at) AS until
    FROM rulebook_activations)
SELECT r.version, r.files, min(d.activated_at) AS since
FROM deciding d JOIN rulebooks r USING (version)
WHERE d.activated_at < $2
    AND (d.until IS NULL OR d.until + make_interval(secs => $3) >= $1)
GROUP BY r.version ORDER BY since"""

_DRAWN_EVER = "SELECT budget_g - left_g FROM campaign_budgets WHERE campaign = $1"

_PEOPLE = "SELECT greatest(reltuples, 0)::bigint FROM pg_class WHERE oid = 'books'::regclass"
