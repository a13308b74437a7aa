"""What stands in a public file of trips or steps, row by row, in the file's own days.

Nothing is mended here: a round trip keeps its distance of 0, a bike that was never given back has
no distance at all. The API judges them as it judges every device.
"""

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any

import msgspec

from kit.replay.table import FileFaultError, read_table

ROWS_MAX = 1_000_000
SPAN_MAX_DAYS = 400

_EARTH_KM = 6371.0088
# Streets are longer than the great circle between two stations.
_DETOUR = 1.3
# The steps of a whole day have no time; noon is far from where days begin.
_STEPS_AT = time(12)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_AMERICAN_TIMES = ("%m/%d/%Y %H:%M:%S", "%m/%d/%Y %H:%M")
_FAR_SHOWN = 3

Cells = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class FoundAction:
    """An action as a row tells it. `key` is its own in the file; `doer` is what says who did it.

    `at` has an offset where the file has; `place` is where in the file it stands.
    """

    key: str
    doer: str
    at: datetime
    type: str
    attributes: Mapping[str, float]
    place: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """A row of a file: what it tells, or why that cannot be read."""

    place: str
    cells: Any
    action: FoundAction | None
    fault: str = ""


@dataclass(frozen=True, slots=True)
class Found:
    """All actions of a file in the order of time, and what was left out."""

    actions: list[FoundAction]
    unreadable: int
    first_unreadable: str


def read_actions(path: Path, form: str, *, any_span: bool = False) -> Found:
    """Read a file of this form, one of FORMS. Raises FileFaultError."""
    actions: list[FoundAction] = []
    unreadable, first_unreadable = 0, ""
    for row in read_rows(path, form):
        if row.action is None:
            unreadable += 1
            first_unreadable = first_unreadable or f"{row.place}: {row.fault}"
        else:
            actions.append(row.action)
        if len(actions) > ROWS_MAX:
            raise FileFaultError(f"{path} has more than {ROWS_MAX} rows: split it.")
    if not actions:
        raise FileFaultError(f"{path} holds no row of form {form} that can be read.")
    actions.sort(key=lambda action: (action.at, action.key))
    if not any_span:
        _refuse_span(path, actions)
    return Found(actions, unreadable, first_unreadable)


def read_rows(path: Path, form: str) -> Iterator[Row]:
    """The rows of a file of this form, one of FORMS, as they stand. Raises FileFaultError."""
    read, columns = FORMS[form]
    for place, cells in _trips_of(path) if not columns else _table_of(path, form, columns):
        try:
            yield Row(place, cells, replace(read(cells), place=place))
        except ValueError as error:
            yield Row(place, cells, None, str(error))


def _table_of(path: Path, form: str, columns: Sequence[str]) -> Iterator[tuple[str, Cells]]:
    hint = f"is it of form {form}?"
    # A station's name may hold anything.
    for line, cells, _ in read_table(path, columns, hint, renamed=_FORMER, errors="replace"):
        yield f"{path}:{line}", cells


def _trips_of(path: Path) -> Iterator[tuple[str, Cells]]:
    """The trips of a page of MDS, of whichever version."""
    try:
        page = msgspec.json.decode(path.read_bytes())
        trips = page["trips"] if "trips" in page else page["data"]["trips"]
        yield from ((f"{path}, trip {number}", trip) for number, trip in enumerate(trips, 1))
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise FileFaultError(f"{path} cannot be read: {error}") from error
    except (KeyError, TypeError) as error:
        raise FileFaultError(f"{path} has no list of trips: is it of form mds?") from error


def span_days(actions: Sequence[FoundAction]) -> int:
    """How many days there are from the first of these, which are in order, to the last."""
    return (actions[-1].at.date() - actions[0].at.date()).days + 1


def _refuse_span(path: Path, actions: Sequence[FoundAction]) -> None:
    """A replay moves the clock of all from the first day to the last: not for one bad row."""
    days = span_days(actions)
    if days <= SPAN_MAX_DAYS:
        return
    middle = actions[len(actions) // 2].at.date()
    far = [a for a in actions if abs((a.at.date() - middle).days) >= SPAN_MAX_DAYS // 2]
    shown = ", ".join(f"{action.place} ({action.at.date()})" for action in far[:_FAR_SHOWN])
    more = f" and {len(far) - _FAR_SHOWN:,} more" if far[_FAR_SHOWN:] else ""
    raise FileFaultError(
        f"{path} spans {days:,} days, more than {SPAN_MAX_DAYS}: far from the middle of its rows,"
        f" {middle}, is {shown}{more}. Mend that, or move the clock as far with --any-span."
    )


def bike_trip(row: Cells) -> FoundAction:
    """A trip of Citi Bike's system data. The rider is not told: start and hour stand for one.

    Before 2021 a trip had no id of its own; a bike begins one at a time.
    """
    started_at = _instant(row, "started_at")
    minutes = round((_instant(row, "ended_at") - started_at).total_seconds() / 60, 2)
    attributes: dict[str, float] = {}
    places = [_degrees(row, name) for name in ("start_lat", "start_lng", "end_lat", "end_lng")]
    known = [degrees for degrees in places if degrees is not None]
    if len(known) == len(places):
        attributes["distance_km"] = round(_DETOUR * great_circle_km(*known), 3)
    attributes["duration_min"] = minutes
    return FoundAction(
        key=f"{row['bike_id']}-{started_at.isoformat()}"
        if "bike_id" in row
        else _text(row, "ride_id"),
        doer=f"{row.get('start_station_id') or ''}/{started_at.hour:02d}",
        at=started_at,
        type="mobility.bike",
        attributes=attributes,
    )


def steps_of_day(row: Cells) -> FoundAction:
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


def mds_trip(trip: Cells) -> FoundAction:
    """A trip of MDS. The rider is not told: vehicle and hour stand for one."""
    if trip.__class__ is not dict:
        raise ValueError("it is no object")
    started_at, ended_at = _moment(trip, "start_time"), _moment(trip, "end_time")
    metres = _measured(trip, "distance" if "distance" in trip else "trip_distance")
    minutes = round((ended_at - started_at).total_seconds() / 60, 2)
    return FoundAction(
        key=_text(trip, "trip_id"),
        doer=f"{trip.get('device_id')}/{started_at.hour:02d}",
        at=started_at.replace(microsecond=0),
        type="mobility.bike",
        attributes={"distance_km": round(metres / 1000, 3), "duration_min": minutes},
    )


# Form -> how a row is read, and the columns that must be there; MDS has none.
FORMS: Mapping[str, tuple[Callable[[Cells], FoundAction], Sequence[str]]] = {
    "citibike": (
        bike_trip,
        (
            "ride_id|bike_id",
            "started_at",
            "ended_at",
            "start_station_id",
            "start_lat",
            "start_lng",
            "end_lat",
            "end_lng",
        ),
    ),
    "mds": (mds_trip, ()),
    "steps": (steps_of_day, ("Id", "ActivityDate", "TotalSteps", "TotalDistance")),
}

# What Citi Bike called these columns before 2021, in some spelling.
_FORMER = {
    "bikeid": "bike_id",
    "starttime": "started_at",
    "stoptime": "ended_at",
    "startstationid": "start_station_id",
    "startstationlatitude": "start_lat",
    "startstationlongitude": "start_lng",
    "endstationlatitude": "end_lat",
    "endstationlongitude": "end_lng",
}


def great_circle_km(lat_1: float, lng_1: float, lat_2: float, lng_2: float) -> float:
    """The shortest way over a globe between two places in degrees (haversine formula)."""
    phi_1, phi_2 = math.radians(lat_1), math.radians(lat_2)
    half = math.sin((phi_2 - phi_1) / 2) ** 2
    half += math.cos(phi_1) * math.cos(phi_2) * math.sin(math.radians(lng_2 - lng_1) / 2) ** 2
    return 2 * _EARTH_KM * math.asin(min(1.0, math.sqrt(half)))


def _text(row: Cells, column: str) -> str:
    text = row.get(column)
    if not isinstance(text, str) or not text.strip():
        raise ValueError(f"{column} is empty")
    return text.strip()


def _instant(row: Cells, column: str) -> datetime:
    text = _text(row, column)
    for read in (datetime.fromisoformat, *map(_reader, _AMERICAN_TIMES)):
        with suppress(ValueError):
            return read(text).replace(tzinfo=None, microsecond=0)
    raise ValueError(f"{column} {text!r} is no time")


def _reader(form: str) -> Callable[[str], datetime]:
    return lambda text: datetime.strptime(text, form)  # noqa: DTZ007 - the file tells no zone


def _moment(trip: Cells, name: str) -> datetime:
    """An instant of MDS, in milliseconds since 1970."""
    try:
        return _EPOCH + timedelta(milliseconds=_measured(trip, name))
    except OverflowError as error:
        raise ValueError(f"{name} {trip[name]!r} is no time") from error


def _measured(trip: Cells, name: str) -> float:
    value = trip.get(name)
    if value.__class__ not in {int, float}:
        raise ValueError(f"{name} {value!r} is no number")
    return float(value)


def _number(row: Cells, column: str) -> float:
    text = _text(row, column)
    try:
        number = float(text)
    except ValueError as error:
        raise ValueError(f"{column} {text!r} is no number") from error
    if not math.isfinite(number):
        raise ValueError(f"{column} {text!r} is no number")
    return number


def _degrees(row: Cells, column: str) -> float | None:
    return _number(row, column) if row.get(column, "NULL") != "NULL" else None


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
