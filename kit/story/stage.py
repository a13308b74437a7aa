"""The stage of the story: where it is told, and how its clock and tables go."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from kit.replay.api import Api, ApiError


@dataclass(slots=True)
class Person:
    """Somebody of the story."""

    name: str
    token: str


class Story:
    """Who is in it and where it is told."""

    def __init__(self, api: Api, console: Console, program: dict[str, Any]) -> None:
        """`program` is what GET /v1/program answered."""
        self.api = api
        self.program = program
        self._console = console
        self._zone = ZoneInfo(program["timezone"])
        self._scene = 0

    def scene(self, title: str) -> None:
        """Begin the next scene."""
        self._scene += 1
        self._console.print(f"\n[bold]{self._scene}. {escape(title)}[/bold]")

    def say(self, text: str) -> None:
        """One line."""
        self._console.print(text, markup=False)

    def table(self, columns: Iterable[str], rows: Iterable[Iterable[object]]) -> None:
        """A table; numbers stand at the right."""
        kept = [list(row) for row in rows]
        table = Table()
        for place, column in enumerate(columns):
            is_number = bool(kept) and isinstance(kept[0][place], int)
            table.add_column(column, justify="right" if is_number else "left")
        for row in kept:
            table.add_row(
                *(escape(f"{cell:,}" if isinstance(cell, int) else str(cell)) for cell in row)
            )
        self._console.print(table)

    def local(self, time: str) -> str:
        """A time of the API in the programme's time zone."""
        return f"{datetime.fromisoformat(time).astimezone(self._zone):%a %d %b %H:%M}"

    async def now(self) -> datetime:
        """The programme's time."""
        return datetime.fromisoformat((await self.api.get("/v1/dev/clock"))["now"])

    async def move_clock_to_next_morning(self) -> None:
        """To eight o'clock of the next day, when what was recorded today is ripe."""
        tomorrow = (await self.now()).astimezone(self._zone) + timedelta(days=1)
        morning = tomorrow.replace(hour=8, minute=0, second=0, microsecond=0)
        moved = await self.api.post("/v1/dev/clock", {"now": morning})
        self.say(f"The clock of the programme says {self.local(moved['now'])} now.")


def require(holds: object, what: str) -> None:
    """Stop the story where the program does something else than it tells. Raises ApiError."""
    if not holds:
        raise ApiError(f"The demo stopped: it should be that {what}.")
