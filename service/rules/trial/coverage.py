"""Which rules and limits a test has seen at work."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from service.rules.decide.evaluate import Award
from service.rules.decide.rulebook import Rule, Rulebook
from service.rules.language.load import load
from service.rules.language.nodes import Node
from service.rules.language.problems import shown_name


@dataclass(slots=True)
class Seen:
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


class Place(NamedTuple):
    """Where something stands."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        """As compilers say it."""
        return f"{self.file}:{self.line}:{self.column}"


@dataclass(frozen=True, slots=True)
class Covered:
    """One thing that a test should see, and whether one did."""

    rule: str
    what: str
    place: Place
    is_seen: bool

    def __str__(self) -> str:
        """What is missing, as a line."""
        return f"{self.place}: not tested: {self.rule} {self.what}"


@dataclass(frozen=True, slots=True)
class Report:
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
        return {
            "percent": self.percent,
            "seen": self.seen,
            "of": len(self.points),
            "points": [
                {
                    "rule": point.rule,
                    "what": point.what,
                    **point.place._asdict(),
                    "seen": point.is_seen,
                }
                for point in self.points
            ],
        }

    def as_lines(self) -> list[str]:
        """The report for people: a table of rules, then each thing that is missing."""
        rules: dict[str, list[Covered]] = {}
        for point in self.points:
            rules.setdefault(point.rule, []).append(point)
        rows = [("rule", "applies", "skipped", "limits reached", "where")]
        for rule, points in rules.items():
            by_what = {point.what: point.is_seen for point in points}
            limits = [point.is_seen for point in points if point.what not in _CONDITION]
            rows.append(
                (
                    rule,
                    _MARKS[by_what[_APPLIES]],
                    _MARKS[by_what.get(_SKIPPED)],
                    f"{sum(limits)} of {len(limits)}" if limits else "-",
                    str(points[0].place),
                )
            )
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        table = [
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            for row in rows
        ]
        total = f"coverage: {self.percent} % ({self.seen} of {len(self.points)})"
        return [*table, *map(str, self.missing()), total]


_APPLIES, _SKIPPED = "applies to no action", "is skipped for no action by its when"
_CONDITION = (_APPLIES, _SKIPPED)
_MARKS = {True: "yes", False: "NO", None: "-"}


def report(files: Mapping[str, str], rulebook: Rulebook, seen: Seen) -> Report:
    """Say of each rule whether its `when` was true and false, and whether each limit cut."""
    nodes, _ = load(files)
    points: list[Covered] = []
    for name in sorted(nodes):
        for node in nodes[name].find(("rules",)).items:
            rule = rulebook.rules[node.find(("id",)).text]
            points += _points(rule, shown_name(name), node, seen)
    return Report(tuple(points))


def _points(rule: Rule, file: str, node: Node, seen: Seen) -> Sequence[Covered]:
    def point(what: str, at: Node, *, is_seen: bool) -> Covered:
        return Covered(rule.id, what, Place(file, at.line, at.column), is_seen)

    points = [point(_APPLIES, node, is_seen=rule.id in seen.applied)]
    if rule.when is not None:
        is_skipped = rule.id in seen.skipped
        points.append(point(_SKIPPED, node.find(("when",)), is_seen=is_skipped))
    for index, limit in enumerate(rule.limits):
        by = f" by {limit.source.by}" if limit.source.by else ""
        what = f"never reaches its limit of {limit.text}{by}"
        at = node.find(("limits", index))
        points.append(point(what, at, is_seen=(rule.id, index) in seen.cut))
    return points
