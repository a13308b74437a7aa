"""Whether an action is acceptable at all: type, attributes, reporter, time, plausibility.

Pure. Overlap and claims need the books and are decided where those are locked; what they need is
prepared here.
"""

import datetime as dt
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any, NamedTuple

import msgspec
from msgspec import Struct

from service.rules.cel.expression import Activation
from service.rules.cel.text import did_you_mean
from service.rules.decide.normal_form import normal_form
from service.rules.decide.rulebook import (
    FUTURE_TOLERANCE,
    ActionType,
    Attribute,
    Claim,
    CounterKey,
    Program,
    Rulebook,
    period_names,
)
from service.rules.told import Told

_ERRORS_MAX = 50
_BY_KEY_MAX = 64


class Candidate(Struct):
    """An action as it was reported, before anything is believed."""

    type: str
    attributes: dict[str, object]
    occurred_at: dt.datetime
    reporter: str
    verified: bool
    partner_id: str | None


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why an action is refused. `errors`: pairs of RFC 6901 pointer and detail."""

    code: str
    reason: str | None
    detail: str
    errors: tuple[tuple[str, str], ...] = ()


class Claimed(NamedTuple):
    """A value that is paid once: over all in its scope, or only among what its person tells of."""

    scope: str
    value: str
    is_own: bool = False


class Judged(Struct):
    """An acceptable action, with all that overlap, claims and limits need to know of it.

    Of several `claims` the first decides; what a partner told is its person's own claim, too.
    """

    candidate: Candidate
    local_date: dt.date
    ends_at: dt.datetime | None
    exclusive: bool
    claims: tuple[Claimed, ...]
    counters: tuple[CounterKey, ...]
    values: dict[str, object]
    activation: Activation

    def meets(self, starts_at: dt.datetime, ends_at: dt.datetime) -> bool:
        """Whether it fills some of the same minutes as [starts_at, ends_at)."""
        mine = self.candidate.occurred_at
        return self.ends_at is not None and mine < ends_at and starts_at < self.ends_at


def judge(rulebook: Rulebook, candidate: Candidate, now: dt.datetime) -> Judged | Refusal:
    """Accept or refuse an action at this instant, by the catalogue of this rulebook."""
    action_type = rulebook.action_types.get(candidate.type)
    if action_type is None:
        hint = did_you_mean(candidate.type, rulebook.action_types)
        text = "There is no action type {type}{hint}" if hint else "There is no action type {type}."
        detail = Told(text, type=_shown(candidate.type), hint=hint)
        return Refusal("unknown-action-type", None, detail)
    attributes = candidate.attributes
    errors = _attribute_errors(action_type, attributes)
    if errors:
        text = "{type}: {fault}" if errors[0][1].endswith(("?", ".")) else "{type}: {fault}."
        detail = Told(text, type=action_type.name, fault=errors[0][1])
        return Refusal("invalid-attributes", None, detail, tuple(errors))
    if candidate.reporter not in action_type.reported_by:
        text = "{type} is reported by a {allowed}, not by a {reporter}."
        facts = {"type": action_type.name, "reporter": candidate.reporter}
        allowed = " or ".join(sorted(action_type.reported_by))
        return _refused("reporter-not-allowed", text, allowed=allowed, **facts)
    refusal = _time_refusal(action_type, candidate.occurred_at, now)
    if refusal is not None:
        return refusal
    program = rulebook.program
    values = _values(action_type, candidate, program)
    activation = action_type.scope.activation(values)
    plausible = action_type.plausible
    if plausible is not None and plausible.holds(activation) is not True:
        text = "This is not a plausible {type}: it must hold that {condition}."
        return _refused("implausible", text, type=action_type.name, condition=plausible.text)
    local_date = program.local_date(candidate.occurred_at)
    ends_at = None
    if action_type.lasts is not None and action_type.lasts in attributes:
        amount: Any = attributes[action_type.lasts]
        ends_at = candidate.occurred_at + amount * action_type.lasts_unit
    return Judged(
        candidate,
        local_date,
        ends_at,
        action_type.exclusive and ends_at is not None,
        claims_of(action_type, candidate, local_date) if action_type.claim else (),
        counter_keys(action_type, attributes, local_date),
        values,
        activation,
    )


def counter_keys(
    action_type: ActionType, attributes: Mapping[str, object], day: dt.date
) -> tuple[CounterKey, ...]:
    """Name every counter that limits on this type may read or raise on this local day."""
    names = period_names(day)
    return tuple(
        [
            CounterKey(counter, names[per_index], by_key_of(attributes.get(by)) if by else "")
            for counter, per_index, by in action_type.counters
        ]
    )


def by_key_of(value: object) -> str:
    """In its normal form: see spelled_by_key. What shows nothing is a value, told from none."""
    return spelled_by_key((normal_form(value) or " ") if isinstance(value, str) else value)


def spelled_by_key(value: object) -> str:
    """The canonical text of a limit's `by` value; long ones are hashed, a missing one is empty.

    Actions without the value share one counter, or leaving it out would lift the limit.
    """
    if value is None:
        return ""
    text = value if isinstance(value, str) else spelled(value)
    if len(text) <= _BY_KEY_MAX:
        return text
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


def spelled(value: object) -> str:
    """One text for equal values: 1 and 1.0 are the same number."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return msgspec.json.encode(value).decode()


def _attribute_errors(
    action_type: ActionType, attributes: Mapping[str, object]
) -> list[tuple[str, str]]:
    errors: list[tuple[str, str]] = []
    known = 0
    declared = action_type.attributes
    for name, attribute in declared.items():
        if name in attributes:
            known += 1
            fault = attribute.check(attributes[name])
            if fault is not None:
                errors.append((f"/attributes/{name}", Told("{at} {fault}", at=name, fault=fault)))
        elif attribute.required:
            errors.append((f"/attributes/{name}", Told("{at} is required", at=name)))
    if known != len(attributes):
        unknown = (name for name in attributes if name not in declared)
        errors += [_unknown_attribute(declared, name) for name in islice(unknown, _ERRORS_MAX)]
    return errors


def _unknown_attribute(declared: Mapping[str, Attribute], name: str) -> tuple[str, str]:
    pointer = name[:80].encode(errors="replace").decode().replace("~", "~0").replace("/", "~1")
    allowed = Told("; allowed are {allowed}", allowed=", ".join(declared))
    hint = did_you_mean(name, declared) or (allowed if declared else "; none are allowed")
    detail = Told("{at} is not an attribute here{hint}", at=_shown(name), hint=hint)
    return f"/attributes/{pointer}", detail


def _refused(reason: str, text: str, **facts: object) -> Refusal:
    return Refusal("action-refused", reason, Told(text, **facts))


def _time_refusal(
    action_type: ActionType, occurred_at: dt.datetime, now: dt.datetime
) -> Refusal | None:
    if now - occurred_at > action_type.accepted_for:
        return _refused(
            "too-late",
            "{type} is accepted for {limit} after it happened: this one until {until:%FT%TZ}.",
            type=action_type.name,
            limit=duration_text(action_type.accepted_for),
            until=(occurred_at + action_type.accepted_for).astimezone(dt.UTC),
        )
    if occurred_at - now > FUTURE_TOLERANCE:
        return _refused(
            "in-future",
            "It is {now:%FT%TZ}, and this happens at {at:%FT%TZ}; {tolerated} are tolerated.",
            now=now.astimezone(dt.UTC),
            at=occurred_at.astimezone(dt.UTC),
            tolerated=duration_text(FUTURE_TOLERANCE),
        )
    return None


def _values(action_type: ActionType, candidate: Candidate, program: Program) -> dict[str, object]:
    """Bind the names that expressions of this type use; region and streak come with evaluation."""
    used = action_type.used_names
    attributes = candidate.attributes
    values: dict[str, object] = {name: attributes[name] for name in attributes if name in used}
    for name in action_type.presence_names:
        values["_has_" + name] = name in attributes
    if action_type.used_context:
        context = action_type.used_context
        if "verified" in context:
            values["verified"] = candidate.verified
        if "reporter" in context:
            values["reporter"] = candidate.reporter
        if "hour" in context or "weekday" in context:
            local = candidate.occurred_at.astimezone(program.timezone)
            values["hour"] = local.hour
            values["weekday"] = local.isoweekday()
    return values


def claims_of(action_type: ActionType, candidate: Candidate, day: dt.date) -> tuple[Claimed, ...]:
    """What an action of this local day claims: none without the value.

    Within a partner, what no partner told is claimed within its person, and what people may tell as
    well is claimed in both: the same thing told by a person and by a partner is paid once.
    """
    claim, attributes = action_type.claim, candidate.attributes
    if claim is None or not all(name in attributes for name in claim.by):
        return ()
    texts = ",".join(spelled(_compared(claim, attributes[name])) for name in claim.by)
    value = f"[{texts}]@{period_names(day)[claim.per_index]}"
    if not claim.within_partner:
        return (Claimed(claim.scope, value),)
    own = Claimed(claim.scope, value, is_own=True)
    if candidate.partner_id is None:
        return (own,)
    told = Claimed(f"{claim.scope}/{candidate.partner_id}", value)
    return (told,) if action_type.reported_by == {"partner"} else (told, own)


def _compared(claim: Claim, value: object) -> object:
    if not isinstance(value, str):
        return value
    text = normal_form(value)
    return text and (text.lstrip("0") or "0") if claim.ignores_zeros else text


def _shown(text: str) -> str:
    return repr(text if len(text) <= 80 else text[:77] + "...")


def duration_text(duration: dt.timedelta) -> str:
    """Say a duration in its largest fitting units: `7 days`, `2 days 3 h`, `5 min`."""
    seconds = int(duration.total_seconds())
    days, rest = divmod(seconds, 86_400)
    hours, rest = divmod(rest, 3_600)
    minutes, seconds = divmod(rest, 60)
    parts = [
        f"{days} day{'s' if days != 1 else ''}" if days else "",
        f"{hours} h" if hours else "",
        f"{minutes} min" if minutes and not days else "",
        f"{seconds} s" if not (days or hours or minutes) else "",
    ]
    return " ".join(part for part in parts if part)
