"""What is compared takes turns, for a shared machine is faster in some moments than in others.

A figure is the median of the turns' ratios, with the least and the greatest of them.
"""

import statistics
import sys
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
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


def spread(values: Sequence[float]) -> str:
    """Median, least and greatest."""
    return f"{statistics.median(values):.2f} ({min(values):.2f}-{max(values):.2f})"


class Turns:
    """The loads of interleaved turns, by name, in the order of the turns."""

    def __init__(self, title: str) -> None:
        """Begin without any."""
        self.title = title
        self.loads: dict[str, list[Load]] = defaultdict(list)

    def add(self, name: str, load: Load) -> None:
        """One more turn of this."""
        self.loads[name].append(load)
        progress.log(f"{name}: {load.per_second:,.0f}/s")

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

    def ratio(self, name: str, to: str, figure: Figure = per_second) -> str:
        """The spread of the turns' ratios."""
        mine, other = (map(figure, self.loads[each]) for each in (name, to))
        return spread([*map(truediv, mine, other)])

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


def conclude(instance: Instance, turns: Sequence[Turns], *tables: Table) -> None:
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
