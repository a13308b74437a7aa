"""What stands in a public file of trips or steps, row by row, in the file's own days.

Nothing is mended here: a round trip keeps its distance of 0, a bike that was never given back has
no distance at all. The API judges them as it judges every device.
"""

import math
import re
from codecs import BOM_UTF8
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any, cast

import msgspec

from kit.replay.table import FileFaultError, read_table
from kit.replay.twice import twice_in

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
# A time of the first or last year is none in some zone.
_YEARS = range(2, 9999)
_SHOWN_MAX = 60
_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_items = msgspec.json.Decoder(list[msgspec.Raw]).decode

Cells = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class FoundAction:
    """An action as a row tells it. `key` is its own in the file; `doer` is what says who did it.

    `at` is in UTC where the file tells an offset; `place` is where in the file it stands.
    """

    key: str
    doer: str
    at: datetime
    type: str
    attributes: Mapping[str, float]
    place: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """A row of a file: as it stands, its cells, and what they tell or why they cannot be read."""

    place: str
    told: msgspec.Raw | Cells
    cells: Cells
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
    actions.sort(key=lambda action: (action.at.replace(tzinfo=None), action.key))
    if not any_span:
        _refuse_span(path, actions)
    return Found(actions, unreadable, first_unreadable)


def read_rows(path: Path, form: str) -> Iterator[Row]:
    """The rows of a file of this form, one of FORMS, as they stand. Raises FileFaultError."""
    read, columns = FORMS[form]
    for place, told in _table_of(path, form, columns) if columns else _trips_of(path):
        cells: Cells = {}
        try:
            cells = _object(told) if isinstance(told, msgspec.Raw) else told
            yield Row(place, told, cells, replace(read(cells), place=place))
        except ValueError as error:
            yield Row(place, told, cells, None, str(error))


def _table_of(path: Path, form: str, columns: Sequence[str]) -> Iterator[tuple[str, Cells]]:
    hint = f"is it of form {form}?"
    # A station's name may hold anything.
    for line, cells, _ in read_table(path, columns, hint, renamed=_FORMER, errors="replace"):
        yield f"{path}:{line}", cells


def _trips_of(path: Path) -> Iterator[tuple[str, msgspec.Raw]]:
    """The trips of a page of MDS, of whichever version, each as it stands but in one line."""
    try:
        # Some such files begin with a byte order mark.
        text = msgspec.json.format(path.read_bytes().removeprefix(BOM_UTF8), indent=-1)
        page = _members(text)
        held = page["trips"] if "trips" in page else _members(page["data"])["trips"]
        trips = _items(held)
        twice = twice_in(text.replace(bytes(held), b"0"))
    except (KeyError, msgspec.ValidationError) as error:
        raise FileFaultError(f"{path} has no list of trips: is it of form mds?") from error
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise FileFaultError(f"{path} cannot be read: {error}") from error
    if twice:
        raise FileFaultError(f"{path} names {twice} twice: which one counts?")
    yield from ((f"{path}, trip {number}", trip) for number, trip in enumerate(trips, 1))


def _object(trip: msgspec.Raw) -> Cells:
    try:
        if twice := twice_in(bytes(trip)):
            raise ValueError(f"names {twice} twice")
        cells = msgspec.json.decode(trip)
    except RecursionError as error:
        raise ValueError(str(error)) from error
    if cells.__class__ is not dict:
        raise ValueError("it is no object")
    return cast("Cells", cells)


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
    started_at, ended_at = _instant(row, "started_at"), _instant(row, "ended_at")
    if started_at.tzinfo != ended_at.tzinfo:
        raise ValueError("of started_at and ended_at one has an offset, the other none")
    minutes = round((ended_at - started_at).total_seconds() / 60, 2)
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
    started_at, ended_at = _moment(trip, "start_time"), _moment(trip, "end_time")
    if "distance" in trip and "trip_distance" in trip:
        raise ValueError("tells distance and trip_distance: which one counts?")
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
    """In UTC where an offset is told, else the time of a clock that the file does not name."""
    text = _text(row, column)
    for read in (datetime.fromisoformat, *map(_reader, _AMERICAN_TIMES)):
        with suppress(ValueError):
            at = read(text).replace(microsecond=0)
            if at.year in _YEARS:
                return at.astimezone(UTC) if at.tzinfo else at
    raise ValueError(f"{column} {_shown(text)} is no time")


def _reader(form: str) -> Callable[[str], datetime]:
    return lambda text: datetime.strptime(text, form)  # noqa: DTZ007 - the file tells no zone


def _moment(trip: Cells, name: str) -> datetime:
    """An instant of MDS, in milliseconds since 1970."""
    milliseconds = _measured(trip, name)
    with suppress(OverflowError):
        moment = _EPOCH + timedelta(milliseconds=milliseconds)
        if moment.year in _YEARS:
            return moment
    raise ValueError(f"{name} {_shown(trip[name])} is no time")


def _measured(trip: Cells, name: str) -> float:
    value = trip.get(name)
    if value.__class__ not in {int, float}:
        raise ValueError(f"{name} {_shown(value)} is no number")
    try:
        return float(value)
    except OverflowError as error:
        raise ValueError(f"{name} {_shown(value)} is too large") from error


def _number(row: Cells, column: str) -> float:
    text = _text(row, column)
    try:
        number = float(text)
    except ValueError as error:
        raise ValueError(f"{column} {_shown(text)} is no number") from error
    if not math.isfinite(number):
        raise ValueError(f"{column} {_shown(text)} is no number")
    return number


def _shown(value: object) -> str:
    """As it stands in Python; of what is long the beginning and the end."""
    text = repr(value)
    if len(text) <= _SHOWN_MAX:
        return text
    return f"{text[:20]}...{text[-10:]} ({len(text)} characters)"


def _degrees(row: Cells, column: str) -> float | None:
    return _number(row, column) if row.get(column, "NULL") != "NULL" else None


def _american_date(text: str) -> date:
    """A date as `04/12/2016` or `4/13/2016`, with or without a time behind it."""
    match = re.fullmatch(r"(\d{1,2})/(\d{1,2})/(\d{4})(?: .*)?", text)
    if match is None:
        raise ValueError(f"ActivityDate {_shown(text)} is no date")
    month, day, year = (int(number) for number in match.groups())
    try:
        return date(year, month, day)
    except ValueError as error:
        raise ValueError(f"ActivityDate {_shown(text)} is no date") from error
