"""What the examples of two rule sets come to under each of them: the difference in grams."""

from collections.abc import Collection, Iterator, Mapping
from itertools import islice
from typing import Any

import msgspec

from service.rules.compile.limits import in_trees
from service.rules.decide.judge import Refusal
from service.rules.decide.rulebook import Rule, Rulebook
from service.rules.decide.standing import Standing, uses_of
from service.rules.language.schema import Example
from service.rules.tell.rule_set import RuleSet
from service.rules.tell.words import jump
from service.rules.trial.examples import decide_example

# Rules that are tried: a set of a thousand rules of one type would take minutes.
_TRIED_MAX = 100_000
_NEW_MAX = 200
_TIMES_A_DAY = 20
_ROUGH_G = 10
_MANY = 5


class ConsequenceAnswer(msgspec.Struct, frozen=True):
    """An example that comes out otherwise: grams saved and earned, refused, skipped or failed."""

    rule: str
    example: str
    before: dict[str, Any]
    after: dict[str, Any]
    text: str
    warning: str | None


def compare_examples(
    before: RuleSet, after: RuleSet, limited: Collection[str]
) -> tuple[tuple[ConsequenceAnswer, ...], int, int]:
    """Run the examples of both sets under both; of `limited` rules also many times in a day.

    What comes out otherwise, of so many; so many were too many to be tried.
    """
    found: list[ConsequenceAnswer] = []
    many_times: set[str] = set()
    examples = tried = left = 0
    for sides in _cases(before, after):
        both = sides.before, sides.after
        cost = sum(len(book.action_types[rule.action].rules) for book, rule in both)
        tried += cost
        if tried > _TRIED_MAX:
            left += 1
            continue
        examples += 1
        found += sides.once()
        rule_id = sides.before[1].id
        if rule_id in limited and rule_id not in many_times:
            tried += _TIMES_A_DAY * cost
            if more := list(sides.many_times()):
                found += more
                many_times.add(rule_id)
    return (*found, *_new_cases(before, after)), examples, left


def _new_cases(before: RuleSet, after: RuleSet) -> Iterator[ConsequenceAnswer]:
    """What the examples of new rules come to, and what in it pays much."""
    new = (case for case in after.draft.examples if case.rule.id not in before.rules)
    for case in islice(new, _NEW_MAX):
        name, came = case.shape.name, _outcome(after.rulebook, case.rule, case.shape)
        worth = in_trees(came.get("earns", 0))
        warning = worth and f"{worth} by one report"
        saves = f"saves {came['saves']} g, " if came.get("saves") else ""
        text = f"{case.rule.id} {name!r}: new, {saves}{_words(came)}"
        yield ConsequenceAnswer(case.rule.id, name, {}, came, text, warning)


def _cases(before: RuleSet, after: RuleSet) -> Iterator["_Sides"]:
    """Each case of a rule that is in both sets, once; the newer set's first."""
    seen: set[tuple[str, bytes]] = set()
    for case in (*after.draft.examples, *before.draft.examples):
        rule_id, shape = case.rule.id, case.shape
        key = rule_id, msgspec.json.encode((shape.given, shape.context), order="sorted")
        old, new = before.rulebook.rules.get(rule_id), after.rulebook.rules.get(rule_id)
        if old is not None and new is not None and key not in seen:
            seen.add(key)
            yield _Sides((before.rulebook, old), (after.rulebook, new), shape)


class _Sides(msgspec.Struct, frozen=True):
    """One example under both sets."""

    before: tuple[Rulebook, Rule]
    after: tuple[Rulebook, Rule]
    example: Example

    def once(self) -> Iterator[ConsequenceAnswer]:
        """The example as it stands."""
        old, new = (_outcome(*side, self.example) for side in (self.before, self.after))
        if old != new:
            yield self._told(repr(self.example.name), old, new)

    def many_times(self) -> Iterator[ConsequenceAnswer]:
        """The example many times in one day, so that limits show."""
        old, new = (_day_g(*side, self.example) for side in (self.before, self.after))
        if old != new:
            times = f"{_TIMES_A_DAY} times a day"
            told = self._told(f"{self.example.name!r} {times}", {"earns": old}, {"earns": new})
            # Many times as much a day is hardly a slipped unit: a limit is gone.
            warning = told.warning and told.warning.partition(":")[0]
            yield msgspec.structs.replace(told, warning=warning)

    def _told(self, case: str, old: dict[str, Any], new: dict[str, Any]) -> ConsequenceAnswer:
        rule_id = self.before[1].id
        kinds = old.keys() & new.keys()
        if kinds:
            changed = [key for key in ("saves", "earns") if old.get(key) != new.get(key)]
            text = ", ".join(f"{key} {old[key]} -> {new[key]} g" for key in changed)
            worries = [_worry(old[key], new[key]) for key in changed]
            warning = next((worry for worry in worries if worry), None)
            if not changed:
                text = f"cut by {old.get('limited_by')} -> {new.get('limited_by')}"
        else:
            text = f"{_words(old)} -> {_words(new)}"
            warning = "a failing rule pays nothing" if "failed" in new else None
        return ConsequenceAnswer(
            rule_id, self.example.name, old, new, f"{rule_id} {case}: {text}", warning
        )


def _outcome(rulebook: Rulebook, rule: Rule, example: Example) -> dict[str, Any]:
    award = decide_example(rulebook, rule, example)
    if isinstance(award, Refusal):
        return {"refused": award.reason or award.code}
    if award is None:
        return {"skipped": True}
    if award.failed:
        return {"failed": True}
    return {"saves": award.saved_g, "earns": award.energy_g, "limited_by": award.limited_by}


def _day_g(rulebook: Rulebook, rule: Rule, example: Example) -> int:
    """What a person earns who does the same many times at once."""
    standing = Standing()
    total_g = 0
    for _ in range(_TIMES_A_DAY):
        award = decide_example(rulebook, rule, example, standing.usage)
        if award is None or isinstance(award, Refusal):
            return 0
        total_g += award.energy_g
        standing.use(uses_of([award]))
    return total_g


def _worry(before_g: int, after_g: int) -> str | None:
    if before_g and not after_g:
        return "nothing any more"
    if min(before_g, after_g) > _ROUGH_G:
        return jump(before_g, after_g)
    # Rounding makes ratios of a few grams say nothing.
    if max(before_g, after_g) < _MANY * _ROUGH_G:
        return None
    return "almost nothing any more" if after_g < before_g else "many times as much"


def _words(outcome: Mapping[str, Any]) -> str:
    if "refused" in outcome:
        return f"refused as {outcome['refused']}"
    if "skipped" in outcome:
        return "skipped"
    return "fails" if "failed" in outcome else f"earns {outcome['earns']} g"
