"""From found actions to requests: the same file and start give the same keys and bodies.

Pure: no clock and no network. Days are the programme's; a time of the file stays the same time of
its day, one with an offset is that instant in the programme's zone.
"""

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import msgspec

from kit.replay.read import FoundAction

BATCH_MAX = 100
EVENTS_MAX = 500
PARTNER_ID, PARTNER_SOURCE = "replay-bikes", "urn:replay:bikes"
PARTNER_TYPE = "mobility.shared_bike"
RIDE_NO_MAX = 64
PEOPLE = {"citibike": 300, "mds": 300, "steps": None}

_PLAIN = re.compile(r"[!-~]{1,90}")
_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class Order:
    """How a file shall be replayed. Without `people` each doer of the file is a person."""

    form: str
    start: date
    zone: ZoneInfo
    people: int | None


@dataclass(frozen=True, slots=True)
class Post:
    """One body, for POST /v1/me/actions/batch or a partner's events, and how many it holds."""

    body: bytes
    size: int


@dataclass(frozen=True, slots=True)
class Report:
    """What one person, or a partner for several, reports of one day, in the order of time."""

    subjects: tuple[str, ...]
    posts: tuple[Post, ...]


@dataclass(frozen=True, slots=True)
class Day:
    """A day of the replay; also one on which nobody did anything is there."""

    date: date
    reports: tuple[Report, ...]


def plan_days(actions: Sequence[FoundAction], order: Order) -> list[Day]:
    """Shift the actions, which are in the order of time, so that the first day is the start."""
    days = []
    for day, found in _by_day(actions, order):
        people: dict[str, list[dict[str, object]]] = {}
        for action in found:
            people.setdefault(subject_of(action, order), []).append(_item(action, order, day))
        reports = tuple(Report((subject,), _posts(items)) for subject, items in people.items())
        days.append(Day(day, reports))
    return days


def plan_partner_days(actions: Sequence[FoundAction], order: Order) -> list[Day]:
    """The same trips as a partner tells them: one report a day, of everybody's shared bikes."""
    days = []
    for day, found in _by_day(actions, order):
        events = [_event(action, order, day) for action in found]
        parts = [events[n : n + EVENTS_MAX] for n in range(0, len(events), EVENTS_MAX)]
        subjects = tuple(sorted({subject_of(action, order) for action in found}))
        posts = tuple(Post(_encode(part), len(part)) for part in parts)
        days.append(Day(day, (Report(subjects, posts),) if posts else ()))
    return days


def subject_of(action: FoundAction, order: Order) -> str:
    """The made-up person of this action: a hash of who did it, the same in every run."""
    if order.people is None:
        return f"replay-{order.form}-{_plain(action.doer)}"
    return f"replay-{order.form}-{int(_digest(action.doer), 16) % order.people:03d}"


def ride_no_of(key: str) -> str:
    """The key where a ride's number may be as long, else its beginning and a digest of it."""
    if len(key) <= RIDE_NO_MAX:
        return key
    # Of a short one the API takes large and small letters for the same, too.
    return f"{key[:31]}-{_digest(key.casefold())}"


def _by_day(
    actions: Sequence[FoundAction], order: Order
) -> Iterator[tuple[date, list[FoundAction]]]:
    """Each day from the first action's to the last one's, as shifted, with what was done on it."""
    actions = sorted((_local(action, order.zone) for action in actions), key=_place_in_time)
    first, last = actions[0].at.date(), actions[-1].at.date()
    days: list[list[FoundAction]] = [[] for _ in range((last - first).days + 1)]
    for action in actions:
        days[(action.at.date() - first).days].append(action)
    for offset, found in enumerate(days):
        yield order.start + timedelta(days=offset), found


def _local(action: FoundAction, zone: ZoneInfo) -> FoundAction:
    at = action.at.astimezone(zone).replace(tzinfo=None) if action.at.tzinfo else action.at
    return replace(action, at=at)


def _place_in_time(action: FoundAction) -> tuple[datetime, str]:
    return action.at, action.key


def _event(action: FoundAction, order: Order, day: date) -> dict[str, object]:
    key = f"{order.start}-{_plain(action.key)}"
    return {
        "specversion": "1.0",
        "id": key,
        "source": PARTNER_SOURCE,
        "type": PARTNER_TYPE,
        "subject": subject_of(action, order),
        "time": _instant(action, order, day),
        "data": {**action.attributes, "ride_no": ride_no_of(key)},
    }


def _instant(action: FoundAction, order: Order, day: date) -> str:
    occurred_at = datetime.combine(day, action.at.time(), order.zone).astimezone(UTC)
    return occurred_at.strftime("%Y-%m-%dT%H:%M:%SZ")


def _item(action: FoundAction, order: Order, day: date) -> dict[str, object]:
    return {
        "idempotency_key": f"replay-{order.form}-{order.start}-{_plain(action.key)}",
        "type": action.type,
        "occurred_at": _instant(action, order, day),
        "attributes": action.attributes,
        "reporter": "device",
    }


def _posts(items: list[dict[str, object]]) -> tuple[Post, ...]:
    parts = [items[begin : begin + BATCH_MAX] for begin in range(0, len(items), BATCH_MAX)]
    return tuple(Post(_encode({"actions": part}), len(part)) for part in parts)


def _plain(text: str) -> str:
    """The text where it fits into a key, else a digest of it."""
    return text if _PLAIN.fullmatch(text) else _digest(text)


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode(errors="replace"), digest_size=16).hexdigest()
