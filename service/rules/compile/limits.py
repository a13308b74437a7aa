"""Limits of rules: what they count by, and those that contradict each other or can never cut."""

from collections.abc import Iterable, Sequence

from msgspec import Struct

from service.rules.cel.ranges import Range
from service.rules.cel.text import did_you_mean
from service.rules.compile.types import TypeDraft
from service.rules.decide.rulebook import GRAMS_MAX, PERIODS, Campaign, CounterSource, Limit
from service.rules.language import schema
from service.rules.language.shape import Source, whole

# A day lies in one week, month and year; a week may lie in two months and two years.
_WITHIN = {
    "day": {"week", "month", "year", "ever"},
    "week": {"ever"},
    "month": {"year", "ever"},
    "year": {"ever"},
    "ever": set[str](),
}


# What a tree costs where it costs least: files are checked without a database, and the same
# everywhere. What is paid unseen may come to some trees a day, not to a wood.
CHEAPEST_TREE_G = 150
TREES_A_DAY_MAX = 10


class LimitDraft(Struct, frozen=True):
    """A limit in its file."""

    source: Source
    limit: Limit

    @property
    def amount(self) -> int:
        """Its number, of awards or of grams."""
        return self.limit.grams if self.limit.count is None else self.limit.count

    @property
    def identity(self) -> tuple[CounterSource, bool]:
        """What it counts, and whether in grams."""
        return self.limit.source, self.limit.count is None

    @property
    def line(self) -> int:
        """Where it stands."""
        return self.source.node.line

    def warn(self, message: str) -> None:
        """Tell what is wrong with its number."""
        self.source.at("grams" if self.limit.count is None else "count").warn(message)


def compile_limits(source: Source, rule: schema.Rule, kind: TypeDraft | None) -> list[LimitDraft]:
    """Compile a rule's limits; without a type it is not known what they may count by."""
    made: list[LimitDraft] = []
    seen: set[tuple[CounterSource, bool]] = set()
    for index, shape in whole(rule.limits):
        at = source.at("limits", index)
        limit = _limit(at, shape, rule.id, kind)
        if limit is None:
            continue
        draft = LimitDraft(at, limit)
        if draft.identity in seen:
            at.fault(f"this limit stands twice: {limit.text}")
        seen.add(draft.identity)
        made.append(draft)
    _warn_of_idle(made)
    return made


def _limit(source: Source, shape: schema.Limit, owner: str, kind: TypeDraft | None) -> Limit | None:
    count, grams, by, group = shape.count, shape.grams, shape.by, shape.group
    if (count is None) == (grams is None):
        source.needs_one_of("a limit", "count", "grams")
        return None
    if by is not None and (kind is None or by not in kind.given_names()):
        if kind is not None:
            message = f"{{}} is not an attribute of {kind.name}"
            source.at("by").unknown(message, by, kind.given_names())
        return None
    owner = f"group:{group}" if group else owner
    return Limit(
        source=CounterSource(f"{owner}/{shape.per}/{by or ''}", PERIODS.index(shape.per), by),
        per=shape.per,
        count=count,
        grams=grams or 0,
        group=group,
        text=f"{count} per {shape.per}" if count is not None else f"{grams} g per {shape.per}",
    )


def _warn_of_idle(limits: Sequence[LimitDraft]) -> None:
    """Tell of limits that never cut, because another one is always used up before."""
    for draft in limits:
        for other in limits:
            if other is not draft and _counts_less(draft, other) and draft.amount >= other.amount:
                sooner = f"{other.limit.text} of line {other.line} is used up before"
                draft.warn(f"{draft.limit.text} never cuts: {sooner}")
                break


def _counts_less(draft: LimitDraft, other: LimitDraft) -> bool:
    """Whether all that a limit counts is counted by another one too."""
    one, more = draft.limit, other.limit
    if one.source == more.source or (one.count is None) != (more.count is None):
        return False
    return (
        (one.per == more.per or more.per in _WITHIN[one.per])
        and (more.source.by is None or one.source.by == more.source.by)
        and (one.group == more.group or one.group is None)
    )


def grams_text(grams: float) -> str:
    """Write a computed amount as people do: with digits where they count."""
    return f"{grams:,.0f}" if abs(grams) < 1e12 and abs(grams) >= 100 else f"{grams:,.4g}"


def warn_of_awards(limits: Iterable[LimitDraft], award: Range | None) -> None:
    """Tell of limits that cut every award, or none because there is nothing to cut."""
    if award is None:
        return
    for draft in limits:
        if award.low == award.high == 0:
            draft.warn("this limit never cuts: the rule earns 0 g")
        elif draft.limit.count is None and award.low > draft.amount:
            least = grams_text(award.low)
            draft.warn(f"this cuts every award: the rule earns at least {least} g")


def warn_of_self_reports(
    source: Source, limits: Iterable[LimitDraft], award: Range, campaign: Campaign | None
) -> str | None:
    """Tell what a single person could earn in a day by reports that nobody verifies.

    The same is given back where it is for this campaign that it is so much.

    A limit that counts by a value is none here: who makes up a report makes up its value, too. Nor
    is a campaign's budget, for one person may take all of it.
    """
    each_g = min(award.high, GRAMS_MAX)
    held = [draft for draft in limits if draft.limit.source.by is None]
    own_g, most_g = (
        min([d.amount * (1 if d.limit.count is None else g) for d in held], default=g)
        for g in (each_g, each_g * float(campaign.times if campaign else 1))
    )
    most = ", ".join(filter(None, (f"{grams_text(most_g)} g", in_trees(most_g))))
    is_by_campaign = campaign is not None and most_g > own_g
    if campaign and is_by_campaign:
        most += f" with the campaign {campaign.id}"
    if held and most_g <= TREES_A_DAY_MAX * CHEAPEST_TREE_G:
        return None
    told = f"nobody verifies these reports and no limit holds them: each can earn {most}"
    if held:
        told = f"by reports that nobody verifies a person can earn {most} in a day; mind the limits"
    source.at("id").warn(told)
    return told if is_by_campaign else None


def in_trees(grams: float) -> str | None:
    """What an amount is beside a tree, if it is more than one."""
    trees = float(f"{grams / CHEAPEST_TREE_G:.2g}")
    return f"{trees:,.9g} trees of {CHEAPEST_TREE_G} g" if trees > 1 else None


def warn_of_groups(limits: Sequence[LimitDraft]) -> None:
    """Tell of groups that are limited differently in their rules, or named so by mistake."""
    first: dict[tuple[CounterSource, bool], LimitDraft] = {}
    rules: dict[str, set[tuple[object, ...]]] = {}
    named = [(draft.limit.group, draft) for draft in limits if draft.limit.group is not None]
    for group, draft in named:
        source = draft.source
        rules.setdefault(group, set()).add((source.name, *source.path[:2]))
        held = first.setdefault(draft.identity, draft)
        if held.amount != draft.amount:
            there = f"{held.limit.text} in {held.source.name}:{held.line}"
            here = f"{draft.limit.text} here; one counter serves both"
            draft.warn(f"the group {group} has {there} and {here}")
    shared = [group for group, owners in rules.items() if len(owners) > 1]
    for group, draft in named:
        if group not in shared and (hint := did_you_mean(group, shared)):
            draft.source.at("group").warn(f"no other rule names the group {group}{hint}")
