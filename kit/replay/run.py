"""A replay, day by day: each morning people collect what is ripe, then phones report yesterday.

What is recorded, when it ripens and what a day's limits leave depend on the programme's clock. So a
day is reported whole before the clock moves on, a person's actions in the order of time, and both
at hours that are far from midnight and from each other: seconds that pass change nothing. A run
that was broken off is completed by the same run again: what was stored answers as a duplicate,
the clock stands where it stood, and what is ripe by then is collected.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

from kit.replay.api import Api, ApiError, members_of, read_board
from kit.replay.plan import Day, Post, Report

COLLECTED_AT = time(8)
REPORTED_AT = time(10)
# After the last day energy still ripens; how long depends on the programme.
MORNINGS_MAX = 40

_CLOCK_MOVED_ON = 409
_CLOCKS_READ = 4
_SETTLE_S = 0.05
_SETTLE_TRIES = 200

Progress = Callable[[date, int], None]
T = TypeVar("T")


@dataclass(slots=True)
class Sum:
    """How many actions, and their grams."""

    actions: int = 0
    energy_g: int = 0
    saved_g: int = 0

    def add(self, result: dict[str, Any]) -> None:
        """Count one result of a batch."""
        self.actions += 1
        self.energy_g += result["energy_g"]
        self.saved_g += result["saved_g"]


@dataclass(slots=True)
class Tally:
    """What became of all actions of a replay."""

    accepted: Sum = field(default_factory=Sum)
    duplicate: Sum = field(default_factory=Sum)
    refused: Counter[str] = field(default_factory=Counter)
    collected_g: int = 0


class Replay:
    """The state of one run: tokens of the people and what became of their actions."""

    def __init__(self, api: Api, zone: ZoneInfo, progress: Progress) -> None:
        """`progress` is told the day and how many actions were answered just now."""
        self.tally = Tally()
        self.api = api
        self._zone = zone
        self._progress = progress
        self.tokens: dict[str, str] = {}
        # Whose energy may still ripen: reported something since they last had nothing to wait for.
        self._waiting: set[str] = set()

    async def run(self, days: Sequence[Day]) -> None:
        """Play all days, and the mornings until nothing ripens any more. Raises ApiError."""
        subjects = {name for day in days for report in day.reports for name in report.subjects}
        await self.meet(sorted(subjects))
        for day in days:
            morning = day.date + timedelta(days=1)
            await self._collect(morning)
            await self._move_clock(morning, REPORTED_AT)
            await all_of(self.report(day.date, report) for report in day.reports)
        for number in range(1, MORNINGS_MAX + 1):
            if self._waiting:
                await self._collect(morning + timedelta(days=number))

    async def books(self) -> list[dict[str, Any]]:
        """What GET /v1/me tells of everybody, in the order of their names here."""
        people = sorted(self.tokens)
        return await all_of(self.api.get("/v1/me", self.tokens[subject]) for subject in people)

    async def board(self, name: str, limit: int) -> dict[str, Any]:
        """The head of a board, as one of the people sees it."""
        return await read_board(self.api, min(self.tokens.values()), name, limit)

    async def meet(self, subjects: Sequence[str]) -> None:
        """Get everybody's token. Raises ApiError."""
        await all_of(self._meet(subject) for subject in subjects)

    async def report(self, day: date, report: Report) -> None:
        """Send a person's day, one request after the other: limits and overlap go by order."""
        token = self.tokens[report.subjects[0]]
        for post in report.posts:
            response = await self.api.send(
                "POST", "/v1/me/actions/batch", token=token, content=post.body
            )
            self.answered(day, report, post, members_of(response))

    def answered(self, day: date, report: Report, post: Post, answer: dict[str, Any]) -> None:
        """Count what became of a post, and who may have something ripening now."""
        self._waiting.update(report.subjects)
        self._count(answer["results"])
        self._progress(day, post.size)

    async def _meet(self, subject: str) -> None:
        order = {"subject": subject, "role": "participant"}
        self.tokens[subject] = (await self.api.post("/v1/dev/token", order))["access_token"]

    async def _move_clock(self, day: date, at: time) -> None:
        """Move the programme's clock to this time of its day, unless it is past it already."""
        wanted = datetime.combine(day, at, self._zone).astimezone(UTC)
        body = b'{"now":"%s"}' % wanted.strftime("%Y-%m-%dT%H:%M:%SZ").encode()
        response = await self.api.send("POST", "/v1/dev/clock", content=body)
        if response.status_code != _CLOCK_MOVED_ON:
            members_of(response)
        # Each process of the API learns of the move by itself, a moment later.
        for _ in range(_SETTLE_TRIES):
            if min(await all_of(self._read_clock() for _ in range(_CLOCKS_READ))) >= wanted:
                return
            await asyncio.sleep(_SETTLE_S)
        raise ApiError(f"The programme's clock was moved to {wanted}, but not for every process.")

    async def _read_clock(self) -> datetime:
        return datetime.fromisoformat((await self.api.get("/v1/dev/clock"))["now"])

    def _count(self, results: Iterable[dict[str, Any]]) -> None:
        for result in results:
            if result["status"] == "accepted":
                self.tally.accepted.add(result)
            elif result["status"] == "duplicate":
                self.tally.duplicate.add(result)
            else:
                self.tally.refused[refusal_text(result["problem"])] += 1

    async def _collect(self, morning: date) -> None:
        """Let everybody who waits collect what is ripe on this morning."""
        await self._move_clock(morning, COLLECTED_AT)
        await all_of(self._collect_of(subject) for subject in sorted(self._waiting))

    async def _collect_of(self, subject: str) -> None:
        answer = await self.api.post("/v1/me/bubbles/collect", token=self.tokens[subject])
        self.tally.collected_g += answer["collected_g"]
        if not answer["balances"]["ripening_g"]:
            self._waiting.discard(subject)


def refusal_text(problem: dict[str, Any]) -> str:
    """Why an action was refused, without what belongs to that one action alone."""
    if problem.get("reason"):
        return f"{problem['code']} ({problem['reason']})"
    if problem.get("errors"):
        name, detail = (
            problem["errors"][0]["pointer"].rpartition("/")[2],
            problem["errors"][0]["detail"],
        )
        return f"{problem['code']} ({detail if name in detail else f'{name} {detail}'})"
    return str(problem["code"])


async def all_of(parts: Iterable[Awaitable[T]]) -> list[T]:
    """Await all of these at once; the first fault ends the others."""
    tasks = []
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(_one(part)) for part in parts]
    except ExceptionGroup as faults:
        fault = next((one for one in faults.exceptions if isinstance(one, ApiError)), None)
        raise fault or faults from faults
    return [task.result() for task in tasks]


async def _one(part: Awaitable[T]) -> T:
    return await part
