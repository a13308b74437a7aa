"""Factors and action types: from structs to what judging needs."""

import datetime as dt
import math
import re
from collections.abc import Mapping

from msgspec import Struct

from service.rules.cel.expression import Compiled, Scope
from service.rules.cel.text import RESERVED_NAMES
from service.rules.cel.tree import Name, ValueType
from service.rules.compile.attributes import compile_attribute
from service.rules.compile.texts import UNITS_S, duration, localized, note_findings
from service.rules.decide.languages import Text
from service.rules.decide.rulebook import PERIODS, Attribute, Claim
from service.rules.language import schema
from service.rules.language.shape import Source, whole

ACCEPTED_FOR_MAX = dt.timedelta(days=60)
LASTS_MAX = dt.timedelta(hours=24)

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_VALUE_TYPES: Mapping[str, ValueType] = {
    "number": "number",
    "integer": "number",
    "string": "text",
    "boolean": "boolean",
}
_GRAMS_PER = re.compile(r"g/\S.*")
_IN_GRAMS = {"kg": 1e3, "Kg": 1e3, "kgCO2e": 1e3, "t": 1e6, "tonnes": 1e6, "mg": 1e-3, "gCO2e": 1.0}
_NOTHING = Compiled(None, (), frozenset(), frozenset(), {})


class TypeDraft(Struct, frozen=True):
    """An action type whose rules are not compiled yet.

    Without a scope nothing can be said of its expressions: its attributes are no mapping.
    """

    name: str
    source: Source
    shape: schema.ActionType
    title: Text
    hint: Text | None
    attributes: Mapping[str, Attribute]
    scope: Scope | None
    claim: Claim | None
    plausible: Compiled

    def given_names(self) -> frozenset[str]:
        """The names of all its attributes, also of faulty ones."""
        given = self.source.at("attributes").node
        return frozenset(given.entries if given.kind == "map" else ())


def check_factor(source: Source, shape: schema.Factor) -> None:
    """Ask for a factor in grams: another unit would pay and tell a thousandth, or more."""
    if not _GRAMS_PER.fullmatch(shape.unit):
        weight, _, per = shape.unit.partition("/")
        known = _IN_GRAMS.get(weight.strip()) if per.strip() else None
        hint = (
            f"value {shape.value * known:.12g}, unit g/{per.strip()}" if known else "it like g/km"
        )
        message = f"a factor is in grams: its unit begins with g/, not {shape.unit!r}; write {hint}"
        source.at("unit").fault_if_new(message)


def compile_type(
    source: Source, shape: schema.ActionType, *, factors: Mapping[str, float], language: str
) -> TypeDraft:
    """Compile what judging an action of this type needs."""
    name = str(source.path[-1])
    title = localized(source.at("title"), shape.title or name, language)
    hint = None if shape.hint is None else localized(source.at("hint"), shape.hint, language)
    by = _claimed_by(shape.claim)
    made = {
        attribute: compile_attribute(
            source.at("attributes", attribute), content, identifies=attribute in by
        )
        for attribute, content in shape.attributes.items()
    }
    attributes = {attribute: one for attribute, one in made.items() if one is not None}
    scope = _scope(source, shape, attributes, factors)
    claim = None if shape.claim is None else _claim(source, name, shape.claim, attributes)
    _check_acceptance(source, shape)
    _check_duration(source, shape, attributes)
    plausible = _NOTHING if scope is None else _plausible(source.at("plausible"), shape, scope)
    return TypeDraft(name, source, shape, title, hint, attributes, scope, claim, plausible)


def _plausible(source: Source, shape: schema.ActionType, scope: Scope) -> Compiled:
    if shape.plausible is None:
        return _NOTHING
    outcome = scope.compile(str(shape.plausible), "condition", without=("region", "streak_days"))
    note_findings(source, outcome.findings)
    if outcome.expression and outcome.expression.constant is False:
        source.warn("this condition never holds: every action of this type is refused")
    return outcome


def _scope(
    source: Source,
    shape: schema.ActionType,
    attributes: Mapping[str, Attribute],
    factors: Mapping[str, float],
) -> Scope | None:
    """The names of a type's expressions; a faulty attribute still is a name, of any type."""
    given = source.node.entries
    if "attributes" in given and given["attributes"][1].kind != "map":
        return None
    names = [_name(attribute) for attribute in attributes.values()]
    names += [
        Name(name, "any")
        for name in source.at("attributes").node.entries
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


def _check_acceptance(source: Source, shape: schema.ActionType) -> None:
    accepted_for, at = duration(shape.accepted_for), source.at("accepted_for")
    if accepted_for > ACCEPTED_FOR_MAX:
        at.fault(f"accepted_for is at most {ACCEPTED_FOR_MAX.days}d; counters are kept no longer")
    elif not accepted_for:
        at.fault("accepted_for must be longer than 0")
    source.at("reported_by").once(shape.reported_by)


def _check_duration(
    source: Source, shape: schema.ActionType, attributes: Mapping[str, Attribute]
) -> None:
    if shape.lasts is None:
        if shape.overlap is not None:
            message = "overlap: exclusive needs lasts, the attribute that tells how long it took"
            source.at("overlap").fault(message, at_key=True)
        return
    at = source.at("lasts")
    attribute = attributes.get(shape.lasts)
    if attribute is None:
        if shape.lasts not in shape.attributes:
            at.unknown("{} is not an attribute here", shape.lasts, attributes)
    elif attribute.unit not in {"s", "min", "h"} or attribute.type not in {"number", "integer"}:
        at.fault(f"{shape.lasts} must be a number with unit s, min or h")
    elif attribute.minimum is None or attribute.minimum < 0:
        at.fault(f"{shape.lasts} needs a minimum of at least 0")
    else:
        longest, unit = LASTS_MAX.total_seconds() / UNITS_S[attribute.unit], attribute.unit
        if attribute.maximum is None or attribute.maximum > longest:
            at.fault(f"{shape.lasts} needs a maximum of at most {longest:g} {unit} (24 h)")


def _claimed_by(shape: schema.Claim | None) -> tuple[str, ...]:
    by = () if shape is None else shape.by
    return (by,) if isinstance(by, str) else by


def _claim(
    source: Source, name: str, shape: schema.Claim, attributes: Mapping[str, Attribute]
) -> Claim:
    by, at = _claimed_by(shape), source.at("claim", "by")
    given = source.at("attributes").node.entries
    for index, attribute in whole(by):
        here = at if isinstance(shape.by, str) else at.at(index)
        if attribute not in attributes and attribute not in given:
            here.unknown("{} is not an attribute here", attribute, attributes)
        elif attribute in by[:index]:
            here.fault(f"{attribute} stands here twice")
    named = tuple(attribute for _, attribute in whole(by))
    return Claim(
        by=named,
        per=shape.per,
        within_partner=shape.within == "partner",
        scope=f"{name}/{'+'.join(named)}/{shape.per}/{shape.within}",
        per_index=PERIODS.index(shape.per),
        ignores_zeros=shape.leading_zeros == "ignored",
    )
