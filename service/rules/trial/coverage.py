"""Which rules and limits a test has seen at work."""

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
from msgspec import Struct, field

from service.rules.decide.evaluate import Award
from service.rules.decide.rulebook import Rule, Rulebook
from service.rules.language.load import load
from service.rules.language.nodes import Node
from service.rules.language.problems import shown_name


class Seen(Struct):
    """What the tests of a rule set have come across so far."""

    applied: set[str] = field(default_factory=set)
    skipped: set[str] = field(default_factory=set)
    cut: set[tuple[str, int]] = field(default_factory=set)

    def note(self, rule: Rule, award: Award | None) -> None:
        """Note what a rule that is on came to; None when its condition did not hold."""
        if award is None:
            self.skipped.add(rule.id)
        elif not award.failed:
            self.applied.add(rule.id)
            self.cut |= {(rule.id, rule.limits.index(limit)) for limit in award.cuts}


class Covered(Struct, frozen=True):
    """One thing that a test should see, where it stands, and whether one did."""

    rule: str
    what: str
    file: str
    line: int
    column: int
    is_seen: bool = msgspec.field(name="seen")

    @property
    def place(self) -> str:
        """As compilers say it."""
        return f"{self.file}:{self.line}:{self.column}"

    def __str__(self) -> str:
        """What is missing, as a line."""
        return f"{self.place}: not tested: {self.rule} {self.what}"


class Report(Struct, frozen=True):
    """All that tests should see, in the order of the files."""

    points: tuple[Covered, ...]

    @property
    def seen(self) -> int:
        """How many points a test saw."""
        return sum(point.is_seen for point in self.points)

    @property
    def percent(self) -> int:
        """Whole per cent, rounded down, so that 100 means all."""
        return 100 * self.seen // len(self.points) if self.points else 100

    def missing(self) -> list[Covered]:
        """What no test saw."""
        return [point for point in self.points if not point.is_seen]

    def as_json(self) -> dict[str, Any]:
        """The report for programs."""
        counts = {"percent": self.percent, "seen": self.seen, "of": len(self.points)}
        return {**counts, "points": self.points}

    def as_lines(self) -> list[str]:
        """The report for people: a table of rules, then each thing that is missing."""
        rules: dict[str, list[Covered]] = {}
        for point in self.points:
            rules.setdefault(point.rule, []).append(point)
        rows: list[tuple[str, ...]] = [("rule", "applies", "skipped", "limits reached", "where")]
        for rule, points in rules.items():
            by_what = {point.what: point.is_seen for point in points}
            marks = [_MARKS[by_what.get(what)] for what in _CONDITION]
            limits = [point.is_seen for point in points if point.what not in _CONDITION]
            reached = f"{sum(limits)} of {len(limits)}" if limits else "-"
            rows.append((rule, *marks, reached, points[0].place))
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        table = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
        total = f"coverage: {self.percent} % ({self.seen} of {len(self.points)})"
        return [*table, *map(str, self.missing()), total]


_CONDITION = _APPLIES, _SKIPPED = "applies to no action", "is skipped for no action by its when"
_MARKS = {True: "yes", False: "NO", None: "-"}


def report(files: Mapping[str, str], rulebook: Rulebook, seen: Seen) -> Report:
    """Say of each rule whether its `when` was true and false, and whether each limit cut."""
    nodes, _ = load(files)
    points: list[Covered] = []
    for name in sorted(nodes):
        for node in nodes[name].find(("rules",)).items:
            rule = rulebook.rules[node.find(("id",)).text]
            points += [
                Covered(rule.id, what, shown_name(name), at.line, at.column, is_seen)
                for what, at, is_seen in _wanted(rule, node, seen)
            ]
    return Report(tuple(points))


def _wanted(rule: Rule, node: Node, seen: Seen) -> Iterator[tuple[str, Node, bool]]:
    """What a test should see of a rule, where that stands, and whether one did."""
    yield _APPLIES, node, rule.id in seen.applied
    if rule.when is not None:
        yield _SKIPPED, node.find(("when",)), rule.id in seen.skipped
    for index, limit in enumerate(rule.limits):
        by = f" by {limit.source.by}" if limit.source.by else ""
        what = f"never reaches its limit of {limit.text}{by}"
        yield what, node.find(("limits", index)), (rule.id, index) in seen.cut
