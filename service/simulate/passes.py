"""Replays the recorded actions of a period under a draft of the rules, beside what was paid.

People are divided among processes by ranges of their random ids; each reads its people page by page
and decides on their actions anew. What is over all people, budgets and claims, needs an order that
no process sees: a pass notes who wants what, the notes are merged in the order of then, and the
next pass knows where each budget ends and who comes too late. Each pass is right at least up to the
first place where the one before was wrong, and a pass that confirms what it was told is right to
the gram. Without a budget that runs out, or a claim that is new, one pass is all.

Nothing is written but notes in a temporary folder: the connections can read only.
"""

import asyncio
import os
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from uuid import UUID

import asyncpg
import msgspec
from msgspec.structs import replace

from service.rules.compile.draft import compile_rulebook
from service.rules.decide.rulebook import Rulebook
from service.simulate.claims import CLAIMS
from service.simulate.crew import Member, Share, SimulationCutOffError, crew_of, over_shares
from service.simulate.draws import Cut
from service.simulate.period import Period
from service.simulate.runs import Run
from service.simulate.tally import Tally
from service.simulate.worker import Setup, Worker, connect_to_read

PASSES_MAX = 12

_SHARES_A_PROCESS = 8
_PEOPLE_A_SHARE = 500
_SHARES_MAX = 4_096
_IDS = 2**128
# Processes that were slow to switch decided by a version for this long after the next came.
_SWITCHED_WITHIN_S = 60


class Progress(msgspec.Struct, frozen=True):
    """How far it is: in which pass, which part of its people, how many actions so far in all."""

    pass_number: int
    part_done: float
    actions: int


class Trial(msgspec.Struct, frozen=True):
    """What is tried. `as_recorded`: each action by the version that decided it, as a self-check."""

    draft: Rulebook
    files: Mapping[str, str]
    period: Period
    as_recorded: bool = False


class Simulation(msgspec.Struct, frozen=True):
    """What came out. Not `settled`: budgets or claims kept changing each other."""

    trial: Trial
    tally: Tally
    budgets: Mapping[str, int]
    ended: frozenset[str]
    passes: int
    settled: bool
    # Campaigns whose versions in the period had different budgets, of which only the last is known.
    rebudgeted: tuple[str, ...] = ()


async def simulate(
    database_url: str,
    trial: Trial,
    *,
    secret: bytes,
    processes: int | None = None,
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
                database_url=database_url,
                secret=secret,
                folder=folder,
                period=trial.period,
                files=dict(trial.files),
                as_recorded=trial.as_recorded,
                versions=[*versions],
                contested=_contested(trial, versions),
            )
            async with crew_of(setup, processes or os.cpu_count() or 1) as crew:
                shares = await _shares(connection, len(crew))
                passes = _Passes(connection, setup, crew, shares, on_progress)
                simulation = await passes.run(trial, _budgets(trial, versions))
                return replace(simulation, rebudgeted=_rebudgeted(trial, versions))
    except ExceptionGroup as group:
        if group.subgroup(SimulationCutOffError) is None:
            raise
        raise SimulationCutOffError from group
    finally:
        await connection.close()


class _Passes(msgspec.Struct):
    """Pass after pass, until one confirms what it was told, and what is known over all people."""

    connection: asyncpg.Connection
    setup: Setup
    crew: Sequence[Member]
    shares: Sequence[Share]
    on_progress: Callable[[Progress], None]
    cuts: dict[str, Cut] = msgspec.field(default_factory=dict)
    refused: str = ""
    refused_digest: bytes = b""
    drawn_before: dict[str, int] = msgspec.field(default_factory=dict)
    actions: int = 0

    async def run(self, trial: Trial, budgets: Mapping[str, int]) -> Simulation:
        settled, number = False, 0
        tally, ended = Tally(), frozenset[str]()
        while not settled and number < PASSES_MAX:
            number += 1
            tally, runs, wanted_g = await self._replay(number)
            cuts = {}
            for name, budget_g in budgets.items():
                drew_g = tally.before.drawn_g[name]
                left_g = await self._left(name, budget_g, wanted_g[name], drew_g)
                if left_g is not None:
                    mine = [run for run in runs if run.name == name]
                    cut = await self.crew[0].ask(Worker.find_cut, mine, left_g)
                    if cut is not None:
                        cuts[name] = cut
            same_claims = await self._same_claims(number, [r for r in runs if r.name == CLAIMS])
            settled = cuts == self.cuts and same_claims
            ended, self.cuts = frozenset(self.cuts), cuts
        return Simulation(trial, tally, budgets, ended, number, settled)

    async def _replay(self, number: int) -> tuple[Tally, list[Run], Counter[str]]:
        """One pass over all people."""
        crew = self.crew
        await asyncio.gather(*(m.ask(Worker.begin, number, self.cuts, self.refused) for m in crew))
        tally, done = Tally(), 0

        def take(part: Tally) -> None:
            nonlocal done
            tally.add(part)
            done += 1
            self.actions += part.actions + part.reversals
            self.on_progress(Progress(number, done / len(self.shares), self.actions))

        await over_shares(crew, self.shares, take, Worker.replay)
        runs: list[Run] = []
        wanted_g = Counter[str]()
        for more, wanted in await asyncio.gather(*(m.ask(Worker.end) for m in crew)):
            runs += more
            wanted_g.update(wanted)
        return tally, runs, wanted_g

    async def _left(self, name: str, budget_g: int, wanted_g: int, drew_g: int) -> int | None:
        """What a budget had left when the period began; None when it surely suffices.

        What was ever drawn less what was drawn in the period is at least what was drawn before it;
        only when that is too much are the actions before the period read.
        """
        ever_g = await self.connection.fetchval(_DRAWN_EVER, name) or 0
        others_g = max(ever_g - drew_g, 0)
        if wanted_g + others_g <= budget_g:
            return None
        if name not in self.drawn_before:
            drawn: list[int] = []
            if others_g:
                await over_shares(self.crew, self.shares, drawn.append, Worker.sum_drawn, name)
            self.drawn_before[name] = sum(drawn)
        return max(budget_g - self.drawn_before[name], 0)

    async def _same_claims(self, number: int, runs: list[Run]) -> bool:
        """Resolve claims; whether it comes out as this pass was told."""
        if not self.setup.contested:
            return True
        path = Path(self.setup.folder) / f"refused-{number}"
        count, digest = await self.crew[0].ask(Worker.resolve_claims, runs, path)
        before, self.refused, self.refused_digest = self.refused_digest, str(path), digest
        return digest == before or (not before and not count)


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


async def _shares(connection: asyncpg.Connection, processes: int) -> list[Share]:
    """Ranges (after, until] of participant ids, which are random, so of about as many people."""
    people = await connection.fetchval(_PEOPLE)
    count = max(processes * _SHARES_A_PROCESS, min(people // _PEOPLE_A_SHARE, _SHARES_MAX))
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
