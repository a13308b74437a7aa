"""What stands in a public file of trips or steps, row by row, in the file's own days.

Nothing is mended here: a round trip keeps its distance of 0, a bike that was never given back has
no distance at all. The API judges them as it judges every device.
"""

import csv
import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time
from pathlib import Path

ROWS_MAX = 1_000_000

_EARTH_KM = 6371.0088
# Streets are longer than the great circle between two stations.
_DETOUR = 1.3
# The steps of a whole day have no time; noon is far from where days begin.
_STEPS_AT = time(12)


@dataclass(frozen=True, slots=True)
class FoundAction:
    """An action as a row tells it. `key` is its own in the file; `doer` is what says who did it."""

    key: str
    doer: str
    at: datetime
    type: str
    attributes: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Found:
    """All actions of a file in the order of time, and what was left out."""

    actions: list[FoundAction]
    unreadable: int
    first_unreadable: str


class FileFaultError(Exception):
    """The file as a whole is not what it should be; the message is one line."""


def read_actions(path: Path, form: str) -> Found:
    """Read a file of this form, one of FORMS. Raises FileFaultError."""
    columns, read_row = FORMS[form]
    actions: list[FoundAction] = []
    unreadable, first_unreadable = 0, ""
    try:
        # Some such files begin with a byte order mark; a station's name may hold anything.
        with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
            rows = csv.DictReader(file)
            missing = [name for name in columns if name not in (rows.fieldnames or ())]
            if missing:
                raise FileFaultError(f"{path} has no column {missing[0]}: is it of form {form}?")
            for row in rows:
                try:
                    actions.append(read_row(row))
                except ValueError as error:
                    unreadable += 1
                    first_unreadable = first_unreadable or f"{path}:{rows.line_num}: {error}"
                if len(actions) > ROWS_MAX:
                    raise FileFaultError(f"{path} has more than {ROWS_MAX} rows: split it.")
    except (OSError, csv.Error) as error:
        raise FileFaultError(f"{path} cannot be read: {error}") from error
    if not actions:
        raise FileFaultError(f"{path} holds no row of form {form} that can be read.")
    actions.sort(key=lambda action: (action.at, action.key))
    return Found(actions, unreadable, first_unreadable)


def bike_trip(row: Mapping[str, str | None]) -> FoundAction:
    """A trip of Citi Bike's system data. The rider is not told: start and hour stand for one."""
    started_at = _instant(row, "started_at")
    minutes = round((_instant(row, "ended_at") - started_at).total_seconds() / 60, 2)
    attributes: dict[str, float] = {}
    places = [_degrees(row, name) for name in ("start_lat", "start_lng", "end_lat", "end_lng")]
    known = [degrees for degrees in places if degrees is not None]
    if len(known) == len(places):
        attributes["distance_km"] = round(_DETOUR * great_circle_km(*known), 3)
    attributes["duration_min"] = minutes
    return FoundAction(
        key=_text(row, "ride_id"),
        doer=f"{row.get('start_station_id') or ''}/{started_at.hour:02d}",
        at=started_at,
        type="mobility.bike",
        attributes=attributes,
    )


def steps_of_day(row: Mapping[str, str | None]) -> FoundAction:
    """A person's steps of one day, from Fitabase's daily activity."""
    person, day = _text(row, "Id"), _american_date(_text(row, "ActivityDate"))
    steps = _number(row, "TotalSteps")
    if not steps.is_integer():
        raise ValueError(f"TotalSteps {steps} is no whole number")
    attributes: dict[str, float] = {"steps": int(steps)}
    distance_km = round(_number(row, "TotalDistance"), 3)
    if distance_km:
        attributes["distance_km"] = distance_km
    return FoundAction(
        key=f"{person}-{day}",
        doer=person,
        at=datetime.combine(day, _STEPS_AT),
        type="mobility.walk",
        attributes=attributes,
    )


ReadRow = Callable[[Mapping[str, str | None]], FoundAction]

# Form -> the columns that must be there, and how a row is read.
FORMS: Mapping[str, tuple[Iterable[str], ReadRow]] = {
    "citibike": (
        (
            "ride_id",
            "started_at",
            "ended_at",
            "start_station_id",
            "start_lat",
            "start_lng",
            "end_lat",
            "end_lng",
        ),
        bike_trip,
    ),
    "steps": (("Id", "ActivityDate", "TotalSteps", "TotalDistance"), steps_of_day),
}


def great_circle_km(lat_1: float, lng_1: float, lat_2: float, lng_2: float) -> float:
    """The shortest way over a globe between two places in degrees (haversine formula)."""
    phi_1, phi_2 = math.radians(lat_1), math.radians(lat_2)
    half = math.sin((phi_2 - phi_1) / 2) ** 2
    half += math.cos(phi_1) * math.cos(phi_2) * math.sin(math.radians(lng_2 - lng_1) / 2) ** 2
    return 2 * _EARTH_KM * math.asin(min(1.0, math.sqrt(half)))


def _text(row: Mapping[str, str | None], column: str) -> str:
    text = (row.get(column) or "").strip()
    if not text:
        raise ValueError(f"{column} is empty")
    return text


def _instant(row: Mapping[str, str | None], column: str) -> datetime:
    text = _text(row, column)
    try:
        instant = datetime.fromisoformat(text)
    except ValueError as error:
        raise ValueError(f"{column} {text!r} is no time") from error
    return instant.replace(tzinfo=None, microsecond=0)


def _number(row: Mapping[str, str | None], column: str) -> float:
    text = _text(row, column)
    try:
        number = float(text)
    except ValueError as error:
        raise ValueError(f"{column} {text!r} is no number") from error
    if not math.isfinite(number):
        raise ValueError(f"{column} {text!r} is no number")
    return number


def _degrees(row: Mapping[str, str | None], column: str) -> float | None:
    return _number(row, column) if (row.get(column) or "").strip() else None


def _american_date(text: str) -> date:
    """A date as `04/12/2016` or `4/13/2016`, with or without a time behind it."""
    match = re.fullmatch(r"(\d{1,2})/(\d{1,2})/(\d{4})(?: .*)?", text)
    if match is None:
        raise ValueError(f"ActivityDate {text!r} is no date")
    month, day, year = (int(number) for number in match.groups())
    try:
        return date(year, month, day)
    except ValueError as error:
        raise ValueError(f"ActivityDate {text!r} is no date") from error
