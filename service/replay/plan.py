"""From found actions to requests: the same file and start give the same keys and bodies.

Pure: no clock and no network. Days are the programme's; a time of the file stays the same time of
its day.
"""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import msgspec

from service.replay.read import FoundAction

BATCH_MAX = 100
PEOPLE = {"citibike": 300, "steps": None}

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
    """One body for POST /v1/me/actions/batch, and how many actions it holds."""

    body: bytes
    size: int


@dataclass(frozen=True, slots=True)
class PersonDay:
    """What one person reports of one day, in the order of time."""

    subject: str
    posts: tuple[Post, ...]


@dataclass(frozen=True, slots=True)
class Day:
    """A day of the replay; also one on which nobody did anything is there."""

    date: date
    reports: tuple[PersonDay, ...]


def plan_days(actions: Sequence[FoundAction], order: Order) -> list[Day]:
    """Shift the actions, which are in the order of time, so that the first day is the start."""
    first, last = actions[0].at.date(), actions[-1].at.date()
    days: list[dict[str, list[dict[str, object]]]] = [{} for _ in range((last - first).days + 1)]
    for action in actions:
        offset = (action.at.date() - first).days
        items = days[offset].setdefault(subject_of(action, order), [])
        items.append(_item(action, order, order.start + timedelta(days=offset)))
    return [
        Day(
            order.start + timedelta(days=offset),
            tuple(PersonDay(subject, _posts(items)) for subject, items in people.items()),
        )
        for offset, people in enumerate(days)
    ]


def subject_of(action: FoundAction, order: Order) -> str:
    """The made-up person of this action: a hash of who did it, the same in every run."""
    if order.people is None:
        return f"replay-{order.form}-{_plain(action.doer)}"
    return f"replay-{order.form}-{int(_digest(action.doer), 16) % order.people:03d}"


def _item(action: FoundAction, order: Order, day: date) -> dict[str, object]:
    occurred_at = datetime.combine(day, action.at.time(), order.zone).astimezone(UTC)
    return {
        "idempotency_key": f"replay-{order.form}-{order.start}-{_plain(action.key)}",
        "type": action.type,
        "occurred_at": occurred_at.strftime("%Y-%m-%dT%H:%M:%SZ"),
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
