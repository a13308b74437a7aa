"""Factors, the programme and action types: from structs to what judging needs."""

from __future__ import annotations

import datetime as dt
import math
import re
import zoneinfo
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from service.rules.cel.bounds import Fact
from service.rules.cel.expression import Expression, Finding, Name, Scope, ValueType
from service.rules.cel.text import RESERVED_NAMES, did_you_mean
from service.rules.compile.attributes import compile_attribute
from service.rules.decide.rulebook import (
    PERIODS,
    Attribute,
    Claim,
    Factor,
    Program,
    Ripening,
    Shield,
    Taking,
    Text,
    Watering,
)
from service.rules.language import schema
from service.rules.language.problems import Step
from service.rules.language.shape import Source, whole
from service.rules.unseen import unseen_in

ACCEPTED_FOR_MAX = dt.timedelta(days=60)
LASTS_MAX = dt.timedelta(hours=24)

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# Whatever lies beside the zones (posix/, right/, localtime) begins with a small letter.
_ZONE_NAME = re.compile(r"[A-Z][\w+-]*(/[A-Z][\w+-]*)*", re.ASCII)
# Names that the zones' folder has and nobody lives in: the first is another one on each machine.
_NO_ZONES = frozenset(("localtime", "Factory"))
_LONGEST = dt.timedelta(days=3660)
_UNITS_S = {"s": 1, "min": 60, "h": 3600, "d": 86_400}
_VALUE_TYPES: Mapping[str, ValueType] = {
    "number": "number",
    "integer": "number",
    "string": "text",
    "boolean": "boolean",
}


@dataclass(slots=True)
class TypeDraft:
    """An action type whose rules are not compiled yet.

    Without a scope nothing can be said of its expressions: its attributes are no mapping.
    """

    name: str
    source: Source
    shape: schema.ActionType
    attributes: Mapping[str, Attribute]
    scope: Scope | None
    plausible: Expression | None
    present: frozenset[str]
    facts: Mapping[str, Fact]
    claim: Claim | None
    title: Text
    hint: Text | None

    def given_names(self) -> frozenset[str]:
        """The names of all its attributes, also of faulty ones."""
        given = self.source.root.find(("action_types", self.name, "attributes"))
        return frozenset(given.entries if given.kind == "map" else ())


def duration(text: str) -> dt.timedelta:
    """Read a duration such as 72h, whose shape was checked."""
    digits = text.rstrip("sminhd")
    return dt.timedelta(seconds=int(digits) * _UNITS_S[text[len(digits) :]])


def localized(
    source: Source, path: tuple[Step, ...], text: str | dict[str, str], language: str
) -> Text:
    """Take a title or hint in one or several languages; plain text is in the programme's."""
    refuse_unseen(source, path, text if isinstance(text, str) else "".join(text.values()))
    if isinstance(text, str):
        return Text(text, {}, language)
    if text and language not in text:
        source.warn(path, f"there is no text in {language}, the programme's language")
    own = language if language in text else next(iter(text), language)
    return Text(text.get(own, ""), text, own)


def refuse_unseen(source: Source, path: tuple[Step, ...], text: str) -> None:
    """Note what nobody sees in a text for people."""
    if found := unseen_in(text):
        source.fault_if_new(path, f"this text must not hold the character {found}")


def expression_findings(
    source: Source, path: tuple[Step, ...], findings: tuple[Finding, ...]
) -> None:
    """Note what was found in an expression, each at its own place inside the text."""
    for finding in findings:
        source.fault(path, finding.message, offset=finding.offset, severity=finding.severity)


def compile_program(source: Source, shape: schema.Program) -> Program | None:
    """Read the programme; None when something in it cannot be."""
    path: tuple[Step, ...] = ("program",)
    refuse_unseen(source, (*path, "name"), shape.name)
    before = len(source.problems)
    zone = _zone(source, shape.timezone)
    ripening = _ripening(source, shape.energy.ripens)
    expires_after = _long(source, (*path, "energy", "expires_after"), shape.energy.expires_after)
    lasts = _long(source, (*path, "shield", "lasts"), shape.shield.lasts)
    taking = shape.taking
    after_ripening = duration(taking.after_ripening)
    if after_ripening > _LONGEST:
        message = f"after_ripening must be at most {_LONGEST.days}d"
        source.fault((*path, "taking", "after_ripening"), message)
    if len(source.problems) > before or zone is None:
        return None
    _warn_of_idle_play(source, shape, is_lost_first=after_ripening >= expires_after)
    return Program(
        name=shape.name,
        language=shape.language,
        timezone=zone,
        ripening=ripening,
        expires_after=expires_after,
        taking=Taking(
            taking.share,
            taking.max_g,
            taking.keep_share,
            taking.per_friend_and_bubble,
            after_ripening,
        ),
        watering=Watering(
            tuple(amount for _, amount in whole(shape.watering.amounts_g)),
            shape.watering.per_friend_per_day,
        ),
        shield=Shield(lasts, shape.shield.per_week),
    )


def _warn_of_idle_play(source: Source, shape: schema.Program, *, is_lost_first: bool) -> None:
    """Tell of what the programme promises to friends and never lets happen."""
    path: tuple[Step, ...] = ("program", "taking")
    taking = shape.taking
    if is_lost_first:
        message = (
            f"friends can never take: a ripe bubble is lost after {shape.energy.expires_after}"
        )
        source.warn((*path, "after_ripening"), message)
    left = 1 - taking.keep_share
    if taking.share > left + 1e-9:
        message = (
            f"nobody can take a share of {taking.share:g}: keep_share {taking.keep_share:g}"
            f" leaves {left:.6g}"
        )
        source.warn((*path, "share"), message)
    source.once(("program", "watering", "amounts_g"), shape.watering.amounts_g)


def _long(source: Source, path: tuple[Step, ...], text: str) -> dt.timedelta:
    length = duration(text)
    if not length:
        source.fault(path, f"{path[-1]} must be longer than 0")
    elif length > _LONGEST:
        source.fault(path, f"{path[-1]} must be at most {_LONGEST.days}d")
    return length


@cache
def _zones() -> frozenset[str]:
    """Every zone's name; finding them opens hundreds of files."""
    return frozenset(zoneinfo.available_timezones() - _NO_ZONES)


def _zone(source: Source, name: str) -> zoneinfo.ZoneInfo | None:
    if _ZONE_NAME.fullmatch(name) and name not in _NO_ZONES:
        try:
            return zoneinfo.ZoneInfo(name)
        except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
            pass  # so it is none, and those that there are will be listed
    known = _zones()
    if name in known:
        return zoneinfo.ZoneInfo(name)
    hint = did_you_mean(name, known) or "; it is an IANA name, like Asia/Shanghai"
    source.fault(("program", "timezone"), f"there is no time zone {name}{hint}")
    return None


def _ripening(source: Source, shape: schema.Ripens) -> Ripening:
    path = ("program", "energy", "ripens")
    given = source.root.find(path).entries
    if ("next_day_at" in given) == ("after" in given):
        source.fault(path, "ripens needs exactly one of next_day_at and after")
    if shape.next_day_at is not None:
        return Ripening(dt.time.fromisoformat(shape.next_day_at), dt.timedelta())
    after = dt.timedelta() if shape.after is None else duration(shape.after)
    if after > dt.timedelta(days=366):
        source.fault((*path, "after"), "after must be at most 366d")
    return Ripening(None, after)


_GRAMS_PER = re.compile(r"g/\S.*")
_IN_GRAMS = {"kg": 1e3, "Kg": 1e3, "kgCO2e": 1e3, "t": 1e6, "tonnes": 1e6, "mg": 1e-3, "gCO2e": 1.0}


def compile_factor(source: Source, name: str, shape: schema.Factor) -> Factor:
    """Take a factor, which is in grams: another unit would pay and tell a thousandth, or more."""
    if not _GRAMS_PER.fullmatch(shape.unit):
        weight, _, per = shape.unit.partition("/")
        known = _IN_GRAMS.get(weight.strip()) if per.strip() else None
        hint = (
            f"value {shape.value * known:.12g}, unit g/{per.strip()}" if known else "it like g/km"
        )
        message = f"a factor is in grams: its unit begins with g/, not {shape.unit!r}; write {hint}"
        source.fault_if_new(("factors", name, "unit"), message)
    return Factor(name, shape.value, shape.unit, shape.source, shape.url, shape.year)


def compile_type(
    source: Source,
    name: str,
    shape: schema.ActionType,
    *,
    factors: Mapping[str, float],
    language: str,
) -> TypeDraft:
    """Compile what judging an action of this type needs."""
    path: tuple[Step, ...] = ("action_types", name)
    title = localized(source, (*path, "title"), shape.title or name, language)
    hint = None
    if shape.hint is not None:
        hint = localized(source, (*path, "hint"), shape.hint, language)
    attributes: dict[str, Attribute] = {}
    by = () if shape.claim is None else shape.claim.by
    by = (by,) if isinstance(by, str) else by
    for attribute, content in shape.attributes.items():
        place, identifies = (*path, "attributes", attribute), attribute in by
        made = compile_attribute(source, place, attribute, content, identifies=identifies)
        if made is not None:
            attributes[attribute] = made
    draft = TypeDraft(
        name=name,
        source=source,
        shape=shape,
        attributes=attributes,
        scope=_scope(source, path, shape, attributes, factors=factors),
        plausible=None,
        present=frozenset(),
        facts={},
        claim=_claim(source, path, name, shape.claim, attributes),
        title=title,
        hint=hint,
    )
    _check_acceptance(source, path, shape)
    _check_duration(source, path, shape, attributes)
    if draft.scope is None or shape.plausible is None:
        return draft
    outcome = draft.scope.compile(
        str(shape.plausible), "condition", without=("region", "streak_days")
    )
    expression_findings(source, (*path, "plausible"), outcome.findings)
    draft.plausible, draft.present, draft.facts = (
        outcome.expression,
        outcome.present,
        outcome.facts,
    )
    if outcome.expression and outcome.expression.constant is False:
        message = "this condition never holds: every action of this type is refused"
        source.warn((*path, "plausible"), message)
    return draft


def _scope(
    source: Source,
    path: tuple[Step, ...],
    shape: schema.ActionType,
    attributes: Mapping[str, Attribute],
    *,
    factors: Mapping[str, float],
) -> Scope | None:
    """The names of a type's expressions; a faulty attribute still is a name, of any type."""
    given = source.root.find(path).entries
    if "attributes" in given and given["attributes"][1].kind != "map":
        return None
    names = [_name(attribute) for attribute in attributes.values()]
    names += [
        Name(name, "any")
        for name in source.root.find((*path, "attributes")).entries
        if name not in attributes and name not in RESERVED_NAMES and _NAME.fullmatch(name)
    ]
    reporters = [reporter for _, reporter in whole(shape.reported_by)]
    is_sure = len(reporters) == len(shape.reported_by) > 0
    return Scope(names, factors, reporters) if is_sure else Scope(names, factors)


def _name(attribute: Attribute) -> Name:
    return Name(
        attribute.name,
        _VALUE_TYPES[attribute.type],
        optional=not attribute.required,
        minimum=-math.inf if attribute.minimum is None else attribute.minimum,
        maximum=math.inf if attribute.maximum is None else attribute.maximum,
        one_of=attribute.one_of,
        is_whole=attribute.type == "integer",
        check=attribute.check,
    )


def _check_acceptance(source: Source, path: tuple[Step, ...], shape: schema.ActionType) -> None:
    accepted_for = duration(shape.accepted_for)
    if accepted_for > ACCEPTED_FOR_MAX:
        message = f"accepted_for is at most {ACCEPTED_FOR_MAX.days}d; counters are kept no longer"
        source.fault((*path, "accepted_for"), message)
    elif not accepted_for:
        source.fault((*path, "accepted_for"), "accepted_for must be longer than 0")
    source.once((*path, "reported_by"), shape.reported_by)


def _check_duration(
    source: Source,
    path: tuple[Step, ...],
    shape: schema.ActionType,
    attributes: Mapping[str, Attribute],
) -> None:
    if shape.lasts is None:
        if shape.overlap is not None:
            message = "overlap: exclusive needs lasts, the attribute that tells how long it took"
            source.fault((*path, "overlap"), message, at_key=True)
        return
    at = (*path, "lasts")
    attribute = attributes.get(shape.lasts)
    if attribute is None:
        if shape.lasts not in shape.attributes:
            hint = did_you_mean(shape.lasts, attributes)
            source.fault(at, f"{shape.lasts} is not an attribute here{hint}")
    elif attribute.unit not in {"s", "min", "h"} or attribute.type not in {"number", "integer"}:
        source.fault(at, f"{shape.lasts} must be a number with unit s, min or h")
    elif attribute.minimum is None or attribute.minimum < 0:
        source.fault(at, f"{shape.lasts} needs a minimum of at least 0")
    else:
        longest = LASTS_MAX.total_seconds() / _UNITS_S[attribute.unit]
        if attribute.maximum is None or attribute.maximum > longest:
            unit = attribute.unit
            source.fault(at, f"{shape.lasts} needs a maximum of at most {longest:g} {unit} (24 h)")


def lasts_unit(attribute: Attribute | None) -> dt.timedelta:
    """One unit of the attribute that tells how long an action took."""
    return dt.timedelta(seconds=_UNITS_S[attribute.unit]) if attribute else dt.timedelta()


def _claim(
    source: Source,
    path: tuple[Step, ...],
    name: str,
    shape: schema.Claim | None,
    attributes: Mapping[str, Attribute],
) -> Claim | None:
    if shape is None:
        return None
    is_one = isinstance(shape.by, str)
    by = (shape.by,) if isinstance(shape.by, str) else shape.by
    for index, attribute in whole(by):
        at: tuple[Step, ...] = (*path, "claim", "by") if is_one else (*path, "claim", "by", index)
        if (
            attribute not in attributes
            and attribute not in source.root.find((*path, "attributes")).entries
        ):
            hint = did_you_mean(attribute, attributes)
            source.fault(at, f"{attribute} is not an attribute here{hint}")
        elif attribute in by[:index]:
            source.fault(at, f"{attribute} stands here twice")
    named = tuple(attribute for _, attribute in whole(by))
    scope = f"{name}/{'+'.join(named)}/{shape.per}/{shape.within}"
    within_partner, ignores_zeros = shape.within == "partner", shape.leading_zeros == "ignored"
    index_of_per = PERIODS.index(shape.per)
    return Claim(named, shape.per, within_partner, scope, index_of_per, ignores_zeros)
