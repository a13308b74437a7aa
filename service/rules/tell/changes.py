"""How what differs between two sets of rules is told: each change, and all of them as a report."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal

from msgspec import Struct, field

from service.rules.tell.consequences import ConsequenceAnswer
from service.rules.tell.words import fields_of, shown

Section = Literal["program", "factors", "action_types", "rules", "campaigns", "badges"]
Kind = Literal["added", "removed", "changed"]


class ChangeAnswer(Struct, frozen=True):
    """One difference in meaning; `warning` says why it deserves a second look."""

    section: Section
    id: str
    field: str
    kind: Kind
    before: str | None
    after: str | None
    text: str
    warning: str | None


class RulebookDifference(Struct, frozen=True):
    """What changes from one version to another; `left` examples were too many to be compared."""

    same: bool
    changes: tuple[ChangeAnswer, ...]
    consequences: tuple[ConsequenceAnswer, ...]
    examples: int
    left: int

    def lines(self) -> Iterator[tuple[str, bool]]:
        """The report for people: each line, and whether it deserves a second look."""
        if self.same:
            yield "no difference in meaning", False
            return
        yield from map(_line, self.changes)
        if self.consequences:
            yield "the examples come to:", False
        yield from map(_line, self.consequences)
        loud = sum(change.warning is not None for change in self.changes)
        loud += sum(consequence.warning is not None for consequence in self.consequences)
        told = f"{counted(len(self.changes), 'change')}, "
        otherwise = sum(bool(consequence.before) for consequence in self.consequences)
        if otherwise:
            told += f"{counted(otherwise, 'example')} otherwise"
        else:
            told += "every example comes out as before"
        if new := len(self.consequences) - otherwise:
            told += f", {counted(new, 'new one')}"
        yield f"{told}; {loud} to look at twice (!)" if loud else told, False
        if self.left:
            yield f"{self.left} examples were not compared: there are too many", False


def _line(one: ChangeAnswer | ConsequenceAnswer) -> tuple[str, bool]:
    why = f" ({one.warning})" if one.warning else ""
    return f"{'!' if why else ' '} {one.text}{why}", bool(why)


def counted(count: int, what: str) -> str:
    """So many of it, in words."""
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


class Words(Struct):
    """How differences of one section are told."""

    section: Section
    id: str
    label: str
    units: Mapping[str, str] = field(default_factory=dict)
    worry: Callable[[str, Any, Any], str | None] = lambda _name, _old, _new: None

    def changes(
        self, before: Mapping[str, Any], after: Mapping[str, Any]
    ) -> Iterator[ChangeAnswer]:
        """Tell each value that differs."""
        for name, old, new in fields_of(before, after):
            yield self.change(name, old, new, name)

    def change(
        self, name: str, old: Any, new: Any, told: str, warning: str | None = None
    ) -> ChangeAnswer:
        """Tell one value that differs; None stands for one that is not there."""
        was = None if old is None else shown(old)
        now = None if new is None else shown(new)
        unit = self.units.get(name, "")
        told = f"{told} " if told else ""
        kind: Kind = "added" if was is None else "removed" if now is None else "changed"
        text = {
            "added": f"{told}{now}{unit} (new)",
            "removed": f"{told}{was}{unit} removed",
            "changed": f"{told}{was} -> {now}{unit}",
        }[kind]
        why = warning or self.worry(name, old, new)
        return ChangeAnswer(
            self.section, self.id, name, kind, was, now, f"{self.label}: {text}", why
        )

    def whole(self, what: str, warning: str | None = None, *, is_new: bool) -> ChangeAnswer:
        """Tell that all of it came or went."""
        kind: Kind = "added" if is_new else "removed"
        was, now = (None, what) if is_new else (what, None)
        text = f"{self.label}: {kind}" + (f": {what}" if what else "")
        return ChangeAnswer(self.section, self.id, "", kind, was, now, text, warning)
