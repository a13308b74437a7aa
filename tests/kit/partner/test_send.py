"""`saxaul partner send`: whole files, what is bad in them, and runs that were broken off."""

import io
import json
import re
import signal
import time
from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import msgspec
import pytest
from rich.console import Console

from kit.partner.journal import Journal, State
from kit.partner.keys import signing_key
from kit.partner.read import Trips, form_of, read_records
from kit.partner.vectors import PRIVATE_KEY
from kit.progress import progress_bar
from kit.replay.table import FileFaultError
from tests.kit.partner.city import PARTNER, SOURCE
from tests.kit.replay.files import FORMER_CITIBIKE, mds_trip, write_mds
from tests.processes import PATIENCE_S


def trip(event_id, minutes_ago=30, **changes):
    at = datetime.now(UTC) - timedelta(minutes=minutes_ago)
    event = {
        "id": event_id,
        "source": SOURCE,
        "type": "transit.metro_trip",
        "subject": "rider-1",
        "time": at.isoformat(),
        "data": {"distance_km": 8.2},
    }
    return {**event, **changes}


def write(path, events):
    path.write_text("".join(json.dumps(event) + "\n" for event in events), encoding="utf-8")
    return path


def send(instance, city, path, *options, key=None):
    order = ["partner", "send", str(path), "--partner", PARTNER, "--key", key or city.secret]
    return instance.type(*order, *options)


def journal(path):
    return msgspec.json.decode((path.parent / f"{path.name}.sent.json").read_bytes(), type=State)


def ids_paid(city):
    return {action["id"] for action in city.actions()}


def test_a_file_is_sent_in_batches_and_paid_once(instance, city, tmp_path):
    path = write(tmp_path / "trips.ndjson", [trip(f"whole-{n}", n * 7) for n in range(23)])
    before = ids_paid(city)
    done = send(instance, city, path, "--batch", "5")
    assert done.returncode == 0, done.stderr
    assert "23 records answered" in done.stdout
    assert len(ids_paid(city) - before) == 23
    assert journal(path).statuses["accepted"] == 23
    again = send(instance, city, path, "--restart")
    assert again.returncode == 0, again.stderr
    assert journal(path).statuses == {"duplicate": 23}
    assert len(ids_paid(city) - before) == 23


def test_times_may_have_any_offset(instance, city, tmp_path):
    """What is digested of them is what the database gives back, so the audit stays clean."""
    trips = [trip(f"offset-{n}", n * 7) for n in range(3)]
    for event, hours in zip(trips, (8, -15, 23), strict=True):
        zone = timezone(timedelta(hours=hours, minutes=30))
        event["time"] = datetime.fromisoformat(event["time"]).astimezone(zone).isoformat()
    done = send(instance, city, write(tmp_path / "trips.ndjson", trips))
    assert done.returncode == 0, done.stderr
    assert journal(tmp_path / "trips.ndjson").statuses == {"accepted": 3}
    told = city.post("/v1/operator/ledger/audit", city.operator, {"mode": "full"})
    assert (told["clean"], told["found"], told["notes"]) == (True, {}, {})


def test_the_private_key_of_the_pair_signs_too(instance, city, tmp_path):
    path = write(tmp_path / "trips.ndjson", [trip("asymmetric-1")])
    keyed = tmp_path / "key"
    keyed.write_text(PRIVATE_KEY + "\n")
    done = send(instance, city, path, key=f"@{keyed}")
    assert done.returncode == 0, done.stderr
    assert journal(path).statuses == {"accepted": 1}


def test_what_is_bad_goes_to_a_file_and_harms_no_other(instance, city, tmp_path):
    good = [trip(f"good-{n}", 90 + n) for n in range(4)]
    bad = [
        trip("bad-distance", data={"distance_km": 9_000}),
        trip("bad-source", source="urn:somebody-else"),
        trip("bad-type", type="mobility.carpool"),
    ]
    lines = [json.dumps(event) for event in [*good[:2], *bad, *good[2:]]]
    path = tmp_path / "mixed.ndjson"
    lines[3:3] = ["{broken", "[1, 2]", json.dumps({"id": "lonely"}), "x" * 70_000]
    path.write_text("\n".join(lines) + "\n")
    done = send(instance, city, path)
    assert done.returncode == 1, done.stdout
    rejected = [
        json.loads(line)
        for line in (tmp_path / "mixed.ndjson.rejected.ndjson").read_text().splitlines()
    ]
    assert [(item["record"], item["problem"]["code"]) for item in rejected] == [
        (3, "invalid-attributes"),
        (4, "record-invalid"),
        (5, "record-invalid"),
        (6, "record-invalid"),
        (7, "record-invalid"),
        (8, "source-not-allowed"),
        (9, "event-type-not-granted"),
    ]
    assert rejected[0]["event"]["id"] == "bad-distance"
    assert journal(path).statuses == {"accepted": 4, "rejected": 7}
    assert str(tmp_path / "mixed.ndjson.rejected.ndjson") in done.stdout


def test_what_was_rejected_is_mended_in_its_file_and_sent(instance, city, tmp_path):
    bad = trip("mended-1", 400, data={"distance_km": 9_000})
    path = write(tmp_path / "trips.ndjson", [bad, trip("mended-2", 410)])
    assert send(instance, city, path).returncode == 1
    rejected = tmp_path / "trips.ndjson.rejected.ndjson"
    line = rejected.read_text()
    assert "9000" in line
    rejected.write_text(line.replace('"distance_km": 9000', '"distance_km": 9.5'))
    done = send(instance, city, rejected)
    assert done.returncode == 0, done.stdout
    assert journal(rejected).statuses == {"accepted": 1}


@pytest.mark.parametrize(
    "mended", ['{"event":1}\n', '{"event":1}', '{"event":"' + "long" * 20 + '"}\n', None]
)
def test_what_was_mended_is_not_cut_when_the_file_goes_on(tmp_path, mended):
    def sent():
        kept = Journal(tmp_path / "trips.ndjson", "http://api", PARTNER)
        kept.resume()
        return kept

    first = sent()
    first.add_rejected([{"record": 1, "event": {"id": "to be mended"}}])
    first.save()
    if mended is None:
        first.rejected_path.unlink()
    else:
        first.rejected_path.write_text(mended)
    for record in (2, 3):
        going_on = sent()
        going_on.add_rejected([{"record": record}])
        going_on.save()
    lines = first.rejected_path.read_text().splitlines()
    assert lines == [*(mended or "").splitlines(), '{"record":2}', '{"record":3}']


def test_what_was_rejected_before_a_crash_stands_there_once(tmp_path):
    def sent():
        kept = Journal(tmp_path / "trips.ndjson", "http://api", PARTNER)
        kept.resume()
        return kept

    sent().save()
    sent().add_rejected([{"record": 1}])
    again = sent()
    again.add_rejected([{"record": 1}])
    assert again.rejected_path.read_text() == '{"record":1}\n'


def test_the_summary_says_what_is_wrong_with_the_first_of_each_kind(instance, city, tmp_path):
    events = [trip(f"nameless-{n}") for n in range(3)]
    for event in events:
        del event["source"]
    path = write(tmp_path / "trips.ndjson", [*events, trip("foreign", source="urn:somebody-else")])
    done = send(instance, city, path)
    assert done.returncode == 1
    lines = done.stdout.splitlines()
    missing = "The record has no source, and no --source was given."
    assert f"record-invalid, first in record 1: {missing}" in lines
    (foreign,) = [
        line for line in lines if line.startswith("source-not-allowed, first in record 4")
    ]
    assert foreign[-1] == "."


def test_records_that_were_never_sent_are_not_held_against_a_mended_run(instance, city, tmp_path):
    events = [trip(f"late-source-{n}", 430 + n) for n in range(3)]
    for event in events:
        del event["source"]
    path = write(tmp_path / "trips.ndjson", events)
    assert send(instance, city, path).returncode == 1
    assert send(instance, city, path).returncode == 1
    assert journal(path).statuses == {"rejected": 3}
    write(path, events[1:])
    done = send(instance, city, path, "--source", SOURCE)
    assert done.returncode == 0, done.stderr
    assert journal(path).statuses == {"accepted": 2}
    assert not (tmp_path / "trips.ndjson.rejected.ndjson").exists()


def test_an_event_with_the_members_of_a_rejected_item_and_more_is_itself(tmp_path):
    event = trip("itself", record=1, event={}, problem={})
    (record,) = read_records(write(tmp_path / "trips.ndjson", [event]), "ndjson", "", {})
    assert not record.fault
    assert msgspec.json.decode(record.body)["id"] == "itself"


def test_a_table_knows_its_types_from_the_catalogue(instance, city, tmp_path):
    at = (datetime.now(UTC) - timedelta(hours=5)).isoformat()
    path = tmp_path / "trips.csv"
    path.write_text(
        "id,type,subject,time,distance_km,ticket_no\n"
        f"table-1,transit.metro_trip,rider-1,{at},8.2,0042\n"
        f"table-2,transit.metro_trip,rider-1,{at},,\n"
        f"table-3,transit.metro_trip,rider-1,{at},far,\n"
    )
    done = send(instance, city, path, "--source", f"{SOURCE}:tables")
    assert done.returncode == 1, done.stdout
    assert journal(path).statuses == {"accepted": 2, "rejected": 1}
    exported = city.get("/v1/me/export", city.rider)["actions"]
    assert {"distance_km": 8.2, "ticket_no": "0042"} in [each["attributes"] for each in exported]


@pytest.mark.parametrize(("cell", "value"), [("012", 12), ("1_2", "1_2"), ("\u0661", "\u0661")])
def test_a_cell_is_a_whole_number_only_as_json_writes_it(tmp_path, cell, value):
    path = tmp_path / "bottles.csv"
    path.write_text(f"id,type,subject,time,count\nb,t,s,2026-11-21T08:00:00Z,{cell}\n", "utf-8")
    (record,) = read_records(path, "csv", "urn:city", {"t": {"count": "integer"}})
    assert msgspec.json.decode(record.body)["data"] == {"count": value}


@pytest.mark.parametrize(
    ("cell", "kind", "value"),
    [
        ("3.0", "integer", 3),
        ("3.00", "integer", 3),
        ("3.5", "integer", "3.5"),
        ("3.0", "number", 3.0),
        ("3.0", "string", "3.0"),
        ("True", "boolean", True),
        ("FALSE", "boolean", False),
        (" 3.0 ", "integer", 3),
        (" 3 ", "integer", 3),
        ("\u00a02.5 ", "number", 2.5),
        (" true ", "boolean", True),
        (" 3.5 ", "integer", " 3.5 "),
        (" 3.0 ", "string", " 3.0 "),
        ("yes", "boolean", "yes"),
    ],
)
def test_cells_are_read_as_tools_write_them(tmp_path, cell, kind, value):
    path = tmp_path / "bottles.csv"
    path.write_text(f"id,type,subject,time,count\nb,t,s,2026-11-21T08:00:00Z,{cell}\n", "utf-8")
    (record,) = read_records(path, "csv", "urn:city", {"t": {"count": kind}})
    read = msgspec.json.decode(record.body)["data"]["count"]
    assert (read, type(read)) == (value, type(value))


PANDAS = """\
id,type,subject,time,distance_km,station,count
a1,recycling.bottle,u1,2026-11-30T08:00:00Z,,,3.0
a2,mobility.shared_bike,u1,2026-11-30T09:00:00Z,2.5,,
a3,mobility.shared_bike,u1,2026-11-30T09:00:00Z,2.5,,,,
,,,,,,
 , ,,,,,,,,
"""


def test_a_table_of_a_data_frame_is_read_without_its_empty_rows(tmp_path):
    path = tmp_path / "frame.csv"
    path.write_text(PANDAS)
    kinds = {"recycling.bottle": {"count": "integer"}}
    records = list(read_records(path, "csv", "urn:city", kinds))
    assert [(record.number, record.fault) for record in records] == [(1, ""), (2, ""), (3, "")]
    assert msgspec.json.decode(records[0].body)["data"] == {"count": 3}
    path.write_text(PANDAS.replace("2.5,,,,", "2.5,,,,more"))
    third = list(read_records(path, "csv", "urn:city", kinds))[2]
    assert third.fault == "has more fields than there are columns"


def test_a_column_that_stands_twice_is_refused_by_its_name(instance, city, tmp_path):
    path = tmp_path / "twice.csv"
    path.write_text("id,type,subject,time,distance_km,distance_km\na,t,s,now,1,2\n")
    done = send(instance, city, path, "--source", SOURCE)
    assert done.returncode == 1
    assert done.stderr.strip() == f"{path} names the column distance_km twice: which one counts?"


def test_a_name_that_stands_twice_in_a_line_is_not_sent(tmp_path):
    path = write(tmp_path / "trips.ndjson", [trip("twice-1"), trip("twice-2")])
    path.write_text(path.read_text().replace('"source": ', '"id": "else", "source": ', 1))
    first, second = read_records(path, "ndjson", "", {})
    assert first.fault == "names id twice"
    assert not second.fault


def test_trips_of_mds_are_sent_as_events(instance, city, tmp_path):
    began = int(time.time()) - 7 * 3_600
    path = write_mds(
        tmp_path / "trips.json",
        mds_trip(began, began, user="rider-1"),
        mds_trip(began + 1, began + 1_200, user="rider-1", distance="far"),
        mds_trip(began + 2, began + 2_400),
    )
    options = ["--format", "mds", "--source", SOURCE]
    done = send(instance, city, path, *options, "--subject", "user")
    assert done.returncode == 1
    assert journal(path).statuses == {"accepted": 1, "rejected": 2}, done.stdout
    assert (
        "first in record 2: The record cannot be read: distance 'far' is no number" in done.stdout
    )
    rides = [each for each in city.actions() if each["type"] == "mobility.shared_bike"]
    assert began in {datetime.fromisoformat(ride["occurred_at"]).timestamp() for ride in rides}
    other = write_mds(tmp_path / "nobodys.json", mds_trip(began + 3, began + 3_600))
    done = send(instance, city, other, *options)
    assert done.returncode == 0, done.stdout
    # Where nobody is named, the trip itself is: it waits for whoever links it.
    assert journal(other).statuses == {"parked": 1}


def test_trips_of_bikes_are_sent_in_the_programmes_time(instance, city, tmp_path):
    zone = ZoneInfo(city.get("/v1/program", city.rider)["timezone"])
    began = datetime.now(zone).replace(microsecond=0) - timedelta(hours=9)
    former = FORMER_CITIBIKE.replace("2019-02-01 00:00:00.1230", f"{began:%Y-%m-%d %H:%M:%S}")
    ended = began + timedelta(minutes=5)
    former = former.replace("2019-02-01 00:05:00.2340", f"{ended:%Y-%m-%d %H:%M:%S}")
    path = tmp_path / "before.csv"
    path.write_text(former)
    done = send(instance, city, path, "--format", "citibike", "--source", SOURCE)
    assert done.returncode == 1
    assert journal(path).statuses == {"parked": 1, "rejected": 1}, done.stdout
    (waiting,) = [
        item
        for item in city.get("/v1/operator/parked-events", city.operator)["items"]
        if item["event"]["id"].startswith("99-")
    ]
    assert datetime.fromisoformat(waiting["event"]["time"]) == began


@pytest.mark.parametrize("bad", [b'"\xff"', b"[" * 990 + b"]" * 990])
def test_a_line_that_is_no_text_or_too_deep_is_a_bad_record(tmp_path, bad):
    path = tmp_path / "trips.ndjson"
    line = json.dumps(trip("deep-1", data={})).encode()
    path.write_bytes(line.replace(b"{}", bad) + b"\n" + line)
    first, second = read_records(path, "ndjson", "", {})
    assert first.fault.startswith("is no JSON: ")
    assert not second.fault


def trips_of(path, form, *, subject="", zone=UTC):
    return list(read_records(path, form, SOURCE, {}, Trips(zone, subject)))


def test_a_time_of_bikes_with_an_offset_is_sent_as_that_instant(tmp_path):
    path = tmp_path / "rides.csv"
    former = FORMER_CITIBIKE.replace("2019-02-01 00:00:00.1230", "2026-12-01T01:38:17+00:00")
    path.write_text(former.replace("2019-02-01 00:05:00.2340", "2026-12-01T01:48:17Z"))
    first, second = trips_of(path, "citibike", zone=ZoneInfo("Asia/Shanghai"))
    event = msgspec.json.decode(first.body)
    assert event["time"] == "2026-12-01T01:38:17+00:00"
    assert event["data"]["duration_min"] == 10.0
    assert msgspec.json.decode(second.body)["time"] == "2019-02-01T07:00:00+08:00"


def test_a_trip_of_mds_that_cannot_be_sent_is_kept_as_it_stands(instance, city, tmp_path):
    digits = "1" + "0" * 399
    path = tmp_path / "trips.json"
    began = int(time.time()) - 30 * 3_600
    text = json.dumps({"trips": [mds_trip(n, began, rider="u1") for n in (1, 2, 3, 4)]}, indent=2)
    text = text.replace('"distance": 2100', f'"distance": {digits}', 1)
    parts = text.split('"rider": "u1"')
    text = '"rider": "u1"'.join(parts[:2]) + f'"rider": {digits}' + '"rider": "u1"'.join(parts[2:])
    path.write_text(text)
    done = send(instance, city, path, "--format", "mds", "--source", SOURCE, "--subject", "rider")
    assert done.returncode == 1
    assert journal(path).statuses == {"parked": 2, "rejected": 2}, done.stdout
    (first,) = [line for line in done.stdout.splitlines() if line.startswith("record-invalid, ")]
    assert first.startswith(
        "record-invalid, first in record 1: The record cannot be read: distance"
    )
    assert len(first) < 160
    kept = (tmp_path / "trips.json.rejected.ndjson").read_text().splitlines()
    assert [json.loads(line)["event"]["trip_id"][-1] for line in kept] == ["1", "2"]
    assert f'"distance":{digits}' in kept[0]
    assert json.loads(kept[1])["problem"]["detail"] == "The record has no text as rider."


@pytest.mark.parametrize("trips", ["{}", '"abc"'])
def test_trips_of_mds_that_are_no_list_end_in_a_line(instance, city, tmp_path, trips):
    path = tmp_path / "trips.json"
    path.write_text(f'{{"trips":{trips}}}')
    done = send(instance, city, path, "--format", "mds", "--source", SOURCE)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.strip() == f"{path} has no list of trips: is it of form mds?"


def test_two_trips_whose_long_ids_begin_alike_are_two_claims(tmp_path):
    ids = ["short/1", "x" * 64, "x" * 64 + "a", "x" * 64 + "b", "X" * 64 + "B"]
    path = write_mds(tmp_path / "trips.json", *(mds_trip(1, 1_796_025_600, trip_id=i) for i in ids))
    events = [msgspec.json.decode(record.body) for record in trips_of(path, "mds")]
    assert [event["id"] for event in events] == ids
    numbers = [event["data"]["ride_no"] for event in events]
    assert numbers[:2] == ids[:2]
    assert max(map(len, numbers)) == 64
    # The API takes large and small letters for the same.
    assert len({number.casefold() for number in numbers}) == 4


def test_the_form_is_known_by_the_name_in_any_case(tmp_path):
    for name in ("d5.CSV", "d5.Ndjson", "d5.JSONL"):
        assert form_of(tmp_path / name) == name[3:].lower().replace("jsonl", "ndjson")
    with pytest.raises(FileFaultError, match="say --format"):
        form_of(tmp_path / "d5.json")


def test_a_key_file_may_begin_with_a_byte_order_mark(instance, city, tmp_path):
    path, keyed = write(tmp_path / "trips.ndjson", [trip("marked-1", 700)]), tmp_path / "key"
    keyed.write_text(city.secret + "\r\n", "utf-8-sig")
    done = send(instance, city, path, key=f"@{keyed}")
    assert done.returncode == 0, done.stderr


def test_a_finished_file_is_not_shown_as_sent_again(instance, city, tmp_path):
    path = write(tmp_path / "trips.ndjson", [trip(f"finished-{n}", 600 + n) for n in range(3)])
    first = send(instance, city, path)
    assert "3 records answered" in first.stdout
    assert "before" not in first.stdout
    again = send(instance, city, path)
    assert again.returncode == 0
    assert "All were sent before; nothing was sent now (--restart sends them again)." in (
        again.stdout
    )


def test_the_rate_is_of_what_is_done_now():
    console = Console(file=io.StringIO(), force_terminal=True)
    with progress_bar(console) as progress:
        bar = progress.add_task("sending", total=9_000_000, completed=8_999_999, before=8_999_999)
        progress.advance(bar)
    assert re.search(r"\d,\d{3},\d{3}/s", console.file.getvalue()) is None


def test_a_run_that_was_broken_off_goes_on_where_it_stood(instance, city, tmp_path):
    path = write(
        tmp_path / "long.ndjson", [trip(f"long-{n}", 200 + n % 3_000) for n in range(3_000)]
    )
    options = ["--batch", "20", "--parallel", "2"]
    order = ["partner", "send", str(path), "--partner", PARTNER, "--key", city.secret, *options]
    process = instance.command(*order, wait=False)
    sent = tmp_path / "long.ndjson.sent.json"
    deadline = time.monotonic() + PATIENCE_S
    while not sent.exists() or journal(path).records < 200:
        assert process.poll() is None
        assert time.monotonic() < deadline
    process.send_signal(signal.SIGKILL)
    process.wait()
    stood = journal(path).records
    assert 200 <= stood < 3_000
    done = instance.type(*order)
    assert done.returncode == 0, done.stderr
    state = journal(path)
    assert state.records == 3_000
    # At most the batches that were under way are sent twice; none, if the end fell between two.
    twice = state.statuses.get("duplicate", 0)
    assert twice <= 40
    assert state.statuses == {"accepted": 3_000 - twice} | ({"duplicate": twice} if twice else {})


def test_another_file_under_the_name_is_not_taken_for_the_first(instance, city, tmp_path):
    path = write(tmp_path / "trips.ndjson", [trip("first-1")])
    assert send(instance, city, path).returncode == 0
    write(path, [trip("second-1"), trip("second-2")])
    done = send(instance, city, path)
    assert done.returncode == 1
    assert "--restart" in done.stderr


def test_what_was_added_to_a_file_is_sent_alone(instance, city, tmp_path):
    events = [trip(f"growing-{n}", 300 + n) for n in range(3)]
    path = write(tmp_path / "trips.ndjson", events[:2])
    assert send(instance, city, path).returncode == 0
    write(path, events)
    assert send(instance, city, path).returncode == 0
    assert journal(path).statuses == {"accepted": 3}


def test_a_wrong_key_stops_everything_with_a_hint(instance, city, tmp_path):
    path = write(tmp_path / "trips.ndjson", [trip("never-1")])
    done = send(instance, city, path, key="whsec_" + "A" * 44)
    assert done.returncode == 1
    assert "--key" in done.stderr
    assert not (tmp_path / "trips.ndjson.sent.json").exists()


@pytest.mark.parametrize("key", ["secret", "whsec_AAAA", "whsk_?", "@/nowhere/key"])
def test_a_key_that_is_none_is_wrong_usage(instance, city, tmp_path, key):
    path = write(tmp_path / "trips.ndjson", [trip("never-2")])
    done = send(instance, city, path, key=key)
    assert done.returncode == 2
    assert "--key" in done.stderr


def test_an_api_that_is_away_is_asked_for_as_long_as_patience_lasts(city, instance, tmp_path):
    path = write(tmp_path / "trips.ndjson", [trip("never-3")])
    options = ["--url", "http://127.0.0.1:1", "--patience", "0.5"]
    done = send(instance, city, path, *options)
    assert done.returncode == 1
    assert "run it again" in done.stderr


def test_a_delivery_signed_now_carries_the_three_headers():
    now = datetime(2026, 11, 22, tzinfo=UTC)
    headers = signing_key(PRIVATE_KEY).headers("msg-1", b"{}", now)
    assert headers["webhook-id"] == "msg-1"
    assert headers["webhook-timestamp"] == str(int(now.timestamp()))
    assert headers["webhook-signature"].startswith("v1a,")
