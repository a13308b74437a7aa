"""Events of a partner's file, record by record: NDJSON as CloudEvents, CSV by its columns.

Each record becomes the bytes of one CloudEvent or a fault of its own; a bad record harms no other.
Numbers of NDJSON go out as they stand in the file. CSV knows text only: the catalogue's types say
what is a number.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, tzinfo
from pathlib import Path
from typing import Any

import msgspec

from kit.replay.plan import PARTNER_TYPE, ride_no_of
from kit.replay.read import FORMS, Row, read_rows
from kit.replay.table import FileFaultError, read_table
from kit.replay.twice import twice_in

EVENT_MAX_BYTES = 65_536
REQUIRED = ("id", "type", "subject", "time")

Kinds = Mapping[str, Mapping[str, str]]
"""Action type -> attribute -> number, integer, string or boolean."""

TRIP_FORMS = tuple(form for form in FORMS if form != "steps")

_INTEGER = re.compile(r"(-?[0-9]{1,18})(?:\.0+)?")
_encode = msgspec.json.Encoder().encode
_raw_members = msgspec.json.Decoder(dict[str, msgspec.Raw])


class _Rejected(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A line of the file of rejected items."""

    record: msgspec.Raw
    event: msgspec.Raw
    problem: msgspec.Raw


_rejected = msgspec.json.Decoder(_Rejected)


@dataclass(frozen=True, slots=True)
class Record:
    """One record of the file, counted from 1: the event as it is sent, or why it cannot be."""

    number: int
    body: bytes
    fault: str = ""


@dataclass(frozen=True, slots=True)
class Trips:
    """What trips do not tell: the zone of their times; in which column stands who made them."""

    zone: tzinfo = UTC
    subject: str = ""


def read_records(
    path: Path, form: str, source: str, kinds: Kinds, trips: Trips | None = None
) -> Iterator[Record]:
    """All records in the order of the file. Raises FileFaultError."""
    if form in TRIP_FORMS:
        for number, row in enumerate(read_rows(path, form), 1):
            yield _trip_record(number, row, source, trips or Trips())
        return
    read = _read_csv if form == "csv" else _read_ndjson
    try:
        yield from read(path, source, kinds)
    except OSError as error:
        raise FileFaultError(f"{path} cannot be read: {error}") from error


def form_of(path: Path) -> str:
    """`csv` or `ndjson`, by the name of the file. Raises FileFaultError."""
    suffix = path.suffix.lower()
    if suffix == ".csv":
        return "csv"
    if suffix in {".ndjson", ".jsonl"}:
        return "ndjson"
    raise FileFaultError(f"{path} is neither .csv nor .ndjson nor .jsonl: say --format.")


def kinds_of(action_types: Sequence[Mapping[str, Any]]) -> Kinds:
    """The types of all attributes, from the items of GET /v1/action-types."""
    return {
        item["type"]: {name: facts["type"] for name, facts in item["attributes"].items()}
        for item in action_types
    }


def _read_ndjson(path: Path, source: str, _kinds: Kinds) -> Iterator[Record]:
    number = 0
    with path.open("rb") as file:
        while line := file.readline(2 * EVENT_MAX_BYTES):
            number += 1
            if len(line) >= 2 * EVENT_MAX_BYTES and not line.endswith(b"\n"):
                _skip_line(file.readline)
            if text := line.strip(b" \t\r\n\xef\xbb\xbf"):
                yield _record(number, text, source)


def _skip_line(readline: Callable[[int], bytes]) -> None:
    while (rest := readline(EVENT_MAX_BYTES)) and not rest.endswith(b"\n"):
        pass


def _event_in(line: bytes) -> bytes:
    """A line of the file of rejected items stands for its event, any other for itself."""
    try:
        return bytes(_rejected.decode(line).event)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return line


def _record(number: int, line: bytes, source: str) -> Record:
    text = _event_in(line)
    if len(text) > EVENT_MAX_BYTES:
        return Record(number, _shown(text), f"is larger than {EVENT_MAX_BYTES:,} bytes")
    try:
        members = _raw_members.decode(text)
        twice = twice_in(text)
    except msgspec.ValidationError:
        return Record(number, _shown(text), "is no JSON object")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return Record(number, _shown(text), f"is no JSON: {error}")
    if twice:
        return Record(number, text, f"names {twice} twice")
    missing = [name for name in REQUIRED if name not in members]
    if missing and not _is_reversal(members, missing):
        return Record(number, _encode(members), f"has no {missing[0]}")
    if "source" not in members and not source:
        return Record(number, _encode(members), "has no source, and no --source was given")
    members.setdefault("specversion", msgspec.Raw(b'"1.0"'))
    members.setdefault("source", msgspec.Raw(_encode(source)))
    return Record(number, _encode(members))


def _is_reversal(members: Mapping[str, msgspec.Raw], missing: Sequence[str]) -> bool:
    """A reversal names its event; whose it is and when it began stands there."""
    return bytes(members.get("type", b"")) == b'"action.reversed"' and set(missing) <= {
        "subject",
        "time",
    }


def _read_csv(path: Path, source: str, kinds: Kinds) -> Iterator[Record]:
    hint = f"it needs {', '.join(REQUIRED)}."
    for number, (_, cells, more) in enumerate(read_table(path, REQUIRED, hint), 1):
        if more:
            yield Record(number, _encode(more), "has more fields than there are columns")
        else:
            yield _csv_record(number, cells, source, kinds)


def _csv_record(number: int, cells: dict[str, str], source: str, kinds: Kinds) -> Record:
    source = cells.pop("source", "") or source
    attributes = kinds.get(cells.get("type", ""), {})
    event: dict[str, Any] = {"specversion": "1.0", "source": source}
    event |= {name: cells.pop(name) for name in REQUIRED if name in cells}
    event["data"] = {name: _value(cell, attributes.get(name, "")) for name, cell in cells.items()}
    missing = [name for name in ("source", "id", "type") if not event.get(name)]
    if missing:
        return Record(number, _encode(event), f"has no {missing[0]}")
    return Record(number, _encode(event))


def _trip_record(number: int, row: Row, source: str, trips: Trips) -> Record:
    """A trip as the event of a shared bike; without a rider it stands for itself."""
    if row.action is None:
        return Record(number, _encode(row.told), f"cannot be read: {row.fault}")
    key, at = row.action.key, row.action.at
    subject = row.cells.get(trips.subject) if trips.subject else key
    if not subject or not source:
        missing = trips.subject if source else "source, and no --source was given"
        return Record(number, _encode(row.told), f"has no {missing}")
    if not isinstance(subject, str):
        return Record(number, _encode(row.told), f"has no text as {trips.subject}")
    event = {
        "specversion": "1.0",
        "id": key,
        "source": source,
        "type": PARTNER_TYPE,
        "subject": subject,
        "time": (at if at.tzinfo else at.replace(tzinfo=trips.zone)).isoformat(),
        "data": {**row.action.attributes, "ride_no": ride_no_of(key)},
    }
    return Record(number, _encode(event))


def _value(cell: str, kind: str) -> object:
    """A cell as its attribute's type; text that does not fit stays text, for the API to judge."""
    text = cell.strip()
    if kind == "boolean" and text.lower() in {"true", "false"}:
        return text.lower() == "true"
    try:
        if kind == "integer":
            # int() alone would also read 1_000 and the digits of other scripts; a column with gaps
            # is one of 3.0 to data frames.
            return int(found[1]) if (found := _INTEGER.fullmatch(text)) else cell
        return msgspec.json.decode(text, type=float) if kind == "number" else cell
    except (ValueError, msgspec.DecodeError):
        return cell


def _shown(text: bytes) -> bytes:
    """What cannot be sent, as a JSON text for the file of rejected items."""
    return _encode(text[:1_000].decode(errors="replace"))
