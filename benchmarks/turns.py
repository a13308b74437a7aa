"""What is compared takes turns, for a shared machine is faster in some moments than in others.

A figure is the median of the turns' ratios, with the least and the greatest of them.
"""

import math
import statistics
import sys
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from operator import truediv

from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks.instance import Instance
from benchmarks.load import Load, Source, run_load

# Where nobody looks on it becomes a page.
console = Console(width=None if sys.stdout.isatty() else 140)
progress = Console(stderr=True)
Figure = Callable[[Load], float]


def per_second(load: Load) -> float:
    """Good answers a second."""
    return load.per_second


def p50_ms(load: Load) -> float:
    """The latency that half of the requests stay below."""
    return load.percentile_ms(50)


def p99_ms(load: Load) -> float:
    """The latency that one in a hundred exceeds."""
    return load.percentile_ms(99)


_FIGURES: dict[Figure, str] = {per_second: "rate", p50_ms: "p50", p99_ms: "p99"}


def spread(values: Sequence[float]) -> str:
    """Median, least and greatest."""
    return f"{statistics.median(values):.2f} ({min(values):.2f}-{max(values):.2f})"


@dataclass(frozen=True, slots=True)
class Goal:
    """A figure, of each of the turns, and what its median should come to."""

    what: str
    figures: Sequence[float]
    least: float | None = None
    most: float | None = None

    @property
    def target(self) -> str:
        """Its bounds in words."""
        bounds = ((">=", self.least), ("<=", self.most))
        return ", ".join(f"{sign} {bound:g}" for sign, bound in bounds if bound is not None)

    @property
    def is_met(self) -> bool:
        """Whether it comes to that."""
        least, most = (self.least or 0.0), (math.inf if self.most is None else self.most)
        return least <= statistics.median(self.figures) <= most


class Turns:
    """The loads of interleaved turns, by name, in the order of the turns."""

    def __init__(self, title: str) -> None:
        """Begin without any."""
        self.title = title
        self.loads: dict[str, list[Load]] = defaultdict(list)

    def add(self, name: str, load: Load) -> None:
        """One more turn of this."""
        self.loads[name].append(load)
        progress.log(f"{self.title}, {name}: {load.per_second:,.0f}/s")

    async def take(
        self, loads: Mapping[str, tuple[int, Sequence[Source]]], rounds: int, seconds: float
    ) -> None:
        """Each of these ports and sources for a moment, then all in turns."""
        for port, sources in loads.values():
            await run_load(port, sources, 1.0)
        for _ in range(rounds):
            for name, (port, sources) in loads.items():
                self.add(name, await run_load(port, sources, seconds))

    def median(self, name: str, figure: Figure = per_second) -> float:
        """What most turns came to."""
        return statistics.median(map(figure, self.loads[name]))

    def ratios(self, name: str, to: str, figure: Figure = per_second) -> list[float]:
        """What each turn came to, beside another one's."""
        mine, other = (map(figure, self.loads[each]) for each in (name, to))
        return [*map(truediv, mine, other)]

    def ratio(self, name: str, to: str, figure: Figure = per_second) -> str:
        """The spread of the turns' ratios."""
        return spread(self.ratios(name, to, figure))

    def goal(
        self,
        name: str,
        to: str,
        figure: Figure = per_second,
        least: float | None = None,
        most: float | None = None,
    ) -> Goal:
        """What this ratio should come to."""
        what = f"{self.title}: {name}, {_FIGURES[figure]} of {to}"
        return Goal(what, self.ratios(name, to, figure), least, most)

    @property
    def wrong(self) -> dict[str, dict[str, int]]:
        """What was answered otherwise than expected, by name."""
        found: dict[str, dict[str, int]] = {}
        for name, loads in self.loads.items():
            for load in loads:
                for what, count in load.wrong.items():
                    of_name = found.setdefault(name, {})
                    of_name[what] = of_name.get(what, 0) + count
        return found

    def row(self, name: str) -> list[str]:
        """Speed and latencies of one."""
        return [
            name,
            f"{self.median(name):,.0f}",
            f"{self.median(name, p50_ms):.2f}",
            f"{self.median(name, p99_ms):.2f}",
        ]


HEADINGS = ("what", "answers/s", "p50 ms", "p99 ms")


def table_of(title: str, *headings: str) -> Table:
    """An empty table of figures."""
    table = Table(title=title, title_justify="left", box=box.MARKDOWN, min_width=len(title))
    for heading in headings:
        table.add_column(heading, justify="left" if heading == "what" else "right")
    return table


def compared(turns: Turns, *bases: str) -> Table:
    """All that took turns, beside these."""
    table = table_of(turns.title, *HEADINGS, *(f"of {base}" for base in bases))
    for name in turns.loads:
        ratios = ["1" if name == base else turns.ratio(name, base) for base in bases]
        table.add_row(*turns.row(name), *ratios)
    return table


def tell_goals(goals: Sequence[Goal]) -> None:
    """Each target beside the figure, and a line for each that was not met."""
    table = table_of("Targets", "what", "target", "figure")
    for goal in goals:
        table.add_row(goal.what, goal.target, spread(goal.figures))
    if goals:
        console.print(table)
    for goal in goals:
        if not goal.is_met:
            console.print(f"Target not met: {goal.what}: {spread(goal.figures)}, {goal.target}")


def conclude(
    instance: Instance, turns: Sequence[Turns], *tables: Table, goals: Sequence[Goal] = ()
) -> None:
    """Print the tables of a ledger that is clean. Raises SystemExit for any wrong answer, too."""
    progress.log("auditing")
    instance.audit()
    for table in tables:
        console.print(table)
    wrong = {each.title: each.wrong for each in turns if each.wrong}
    if wrong:
        raise SystemExit(f"answers that nobody wants: {wrong}")
    rounds = len(next(iter(turns[0].loads.values())))
    told = "every answer as expected, the audit clean"
    console.print(f"medians (least-greatest) of {rounds} turns; {told}")
    tell_goals(goals)
