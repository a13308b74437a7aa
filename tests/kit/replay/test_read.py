import json
from datetime import UTC, datetime

import pytest
from click.testing import CliRunner

from kit.replay.commands import replay
from kit.replay.read import FileFaultError, great_circle_km, read_actions
from tests.kit.replay.files import (
    CITIBIKE_COLUMNS,
    FORMER_CITIBIKE,
    STEPS_COLUMNS,
    mds_trip,
    ride,
    steps,
    write_csv,
    write_mds,
)


def read_rides(tmp_path, *rows):
    return read_actions(write_csv(tmp_path / "rides.csv", CITIBIKE_COLUMNS, rows), "citibike")


def read_steps(tmp_path, *rows):
    return read_actions(write_csv(tmp_path / "steps.csv", STEPS_COLUMNS, rows), "steps")


def test_a_trip_has_its_way_its_minutes_and_the_local_time_of_its_row(tmp_path):
    (trip,) = read_rides(
        tmp_path, ride("AAAA000011112222", "2021-02-03 23:11:28", "2021-02-03 23:18:28")
    ).actions
    assert trip.key == "AAAA000011112222"
    assert trip.type == "mobility.bike"
    assert trip.at == datetime.fromisoformat("2021-02-03T23:11:28")
    # 2.32 km as the crow flies, 1.3 times that along the streets.
    assert trip.attributes == {"distance_km": 3.016, "duration_min": 7.0}


def test_the_great_circle_of_a_degree_of_latitude():
    assert great_circle_km(40, -74, 41, -74) == pytest.approx(111.195, abs=0.001)


def test_a_round_trip_has_a_way_of_nothing(tmp_path):
    place = ("40.7", "-74.0")
    row = ride("A" * 16, "2021-02-03 10:00:00", "2021-02-03 10:30:00", start=place, end=place)
    assert read_rides(tmp_path, row).actions[0].attributes["distance_km"] == 0


def test_a_bike_that_nobody_gave_back_has_no_way_at_all(tmp_path):
    row = ride("A" * 16, "2021-02-03 10:00:00", "2021-02-04 10:30:00", end=("", ""))
    assert read_rides(tmp_path, row).actions[0].attributes == {"duration_min": 1470.0}


def test_trips_come_in_the_order_of_time_whatever_their_order_in_the_file(tmp_path):
    found = read_rides(
        tmp_path,
        ride("C" * 16, "2021-02-27 16:34:05", "2021-02-27 16:56:40"),
        ride("B" * 16, "2021-02-03 08:00:00", "2021-02-03 08:10:00"),
        ride("A" * 16, "2021-02-03 08:00:00", "2021-02-03 08:10:00"),
    )
    assert [trip.key[0] for trip in found.actions] == ["A", "B", "C"]


@pytest.mark.parametrize("day", ["04/12/2016", "4/12/2016", "4/12/2016 12:00:00 AM"])
def test_both_forms_of_a_date_are_the_same_day(tmp_path, day):
    (walk,) = read_steps(tmp_path, steps(1503960366, day, "13162.00", "8.50")).actions
    assert walk.key == "1503960366-2016-04-12"
    assert walk.at.date().isoformat() == "2016-04-12"
    assert walk.attributes == {"steps": 13162, "distance_km": 8.5}


def test_no_steps_are_no_steps_and_without_a_way_there_is_none(tmp_path):
    (walk,) = read_steps(tmp_path, steps(7, "4/12/2016", "0.00", "0.00")).actions
    assert walk.attributes == {"steps": 0}


def test_rows_that_cannot_be_read_are_counted_and_the_first_is_named(tmp_path):
    found = read_steps(
        tmp_path,
        steps(7, "4/12/2016", "100.00"),
        steps(7, "13/13/2016", "100.00"),
        steps(7, "4/14/2016", "many"),
        steps(7, "4/15/2016", "1.5"),
        steps(7, "4/16/2016", "nan"),
        "7",
    )
    assert len(found.actions) == 1
    assert found.unreadable == 5
    assert found.first_unreadable.endswith("steps.csv:3: ActivityDate '13/13/2016' is no date")


def test_a_file_of_the_other_form_is_named_as_such(tmp_path):
    path = write_csv(tmp_path / "steps.csv", STEPS_COLUMNS, [steps(7, "4/12/2016", "100.00")])
    with pytest.raises(FileFaultError, match=r"has no column ride_id: is it of form citibike\?"):
        read_actions(path, "citibike")


@pytest.mark.parametrize("content", [b"", b"\x00\xff\xfe", CITIBIKE_COLUMNS.encode()])
def test_a_file_without_trips_is_a_fault_in_one_line(tmp_path, content):
    path = tmp_path / "trips.csv"
    path.write_bytes(content)
    with pytest.raises(FileFaultError) as fault:
        read_actions(path, "citibike")
    assert len(str(fault.value).splitlines()) == 1


def test_trips_of_before_2021_are_read_as_those_of_today(tmp_path):
    path = tmp_path / "before.csv"
    path.write_text(FORMER_CITIBIKE)
    found = read_actions(path, "citibike")
    assert found.unreadable == 0, found.first_unreadable
    first, second = found.actions
    assert (first.key, first.doer) == ("99-2019-02-01T00:00:00", "1/00")
    assert first.at == datetime.fromisoformat("2019-02-01T00:00:00")
    assert first.attributes == {"distance_km": 1.814, "duration_min": 5.0}
    # NULL is no place.
    assert second.attributes == {"duration_min": 7.0}


@pytest.mark.parametrize(
    ("name", "time"),
    [
        ("starttime", "9/1/2014 00:00:25"),
        ("Start Time", "2014-09-01 00:00:25"),
        ("starttime", "9/1/2014 0:00"),
    ],
)
def test_each_spelling_of_before_2021_is_read(tmp_path, name, time):
    text = FORMER_CITIBIKE.replace("starttime", name).replace("2019-02-01 00:00:00.1230", time)
    text = text.replace("2019-02-01 00:05:00.2340", "9/1/2014 00:05:25")
    path = tmp_path / "before.csv"
    path.write_text(text)
    found = read_actions(path, "citibike", any_span=True)
    assert found.actions[0].at.date().isoformat() == "2014-09-01", found


def test_trips_of_mds_have_their_own_way_and_instant(tmp_path):
    path = write_mds(
        tmp_path / "trips.json", mds_trip(2, 1_796_029_200), mds_trip(1, 1_796_025_600)
    )
    first, second = read_actions(path, "mds").actions
    assert first.key == "22222222-2222-4222-8222-000000000001"
    assert first.at == datetime(2026, 11, 30, 8, tzinfo=UTC)
    assert first.attributes == {"distance_km": 2.1, "duration_min": 10.0}
    assert second.at == datetime(2026, 11, 30, 9, tzinfo=UTC)
    # As MDS was before 2.0.
    former = mds_trip(3, 1_796_025_600, trip_distance=900)
    del former["distance"]
    path.write_text(json.dumps({"version": "1.2.0", "data": {"trips": [former]}}))
    assert read_actions(path, "mds").actions[0].attributes["distance_km"] == 0.9


def test_trips_of_mds_that_cannot_be_read_are_told(tmp_path):
    path = write_mds(
        tmp_path / "trips.json",
        mds_trip(1, 1_796_025_600),
        mds_trip(2, 10**15),
        mds_trip(3, 1_796_025_600, start_time="soon"),
        "no trip",
        mds_trip(4, 1_796_025_600, trip_id=None),
    )
    found = read_actions(path, "mds")
    assert (len(found.actions), found.unreadable) == (1, 4)
    assert found.first_unreadable.startswith(f"{path}, trip 2: start_time ")


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"trips": 1}', '{"trips": []}', "{" * 100_000])
def test_a_file_without_trips_of_mds_is_a_fault_in_one_line(tmp_path, text):
    path = tmp_path / "trips.json"
    path.write_text(text)
    with pytest.raises(FileFaultError) as fault:
        read_actions(path, "mds")
    assert len(str(fault.value).splitlines()) == 1


def test_a_row_of_another_century_moves_no_clock_through_the_decades(tmp_path):
    path = write_csv(
        tmp_path / "stray.csv",
        CITIBIKE_COLUMNS,
        [
            ride("R1", "2024-05-01 08:00:00", "2024-05-01 08:10:00"),
            ride("R2", "2024-05-02 08:00:00", "2024-05-02 08:12:00"),
            ride("R3", "1970-01-01 00:00:00", "1970-01-01 00:10:00"),
        ],
    )
    with pytest.raises(FileFaultError) as fault:
        read_actions(path, "citibike")
    assert "19,846 days" in str(fault.value)
    assert f"{path}:4 (1970-01-01)" in str(fault.value)
    assert "--any-span" in str(fault.value)
    assert len(read_actions(path, "citibike", any_span=True).actions) == 3
    told = CliRunner().invoke(replay, [str(path), "--format", "citibike"])
    assert (told.exit_code, told.stderr.strip()) == (1, str(fault.value))


def test_400_days_are_played_without_asking(tmp_path):
    rows = [steps(1, day, "100.00") for day in ("1/1/2023", "2/4/2024")]
    assert len(read_steps(tmp_path, *rows).actions) == 2
    with pytest.raises(FileFaultError, match="401 days"):
        read_steps(tmp_path, *rows, steps(1, "2/5/2024", "100.00"))


def test_a_column_that_stands_twice_is_refused_by_its_name(tmp_path):
    path = write_csv(
        tmp_path / "rides.csv",
        f"{CITIBIKE_COLUMNS},started_at",
        [ride("A" * 16, "2021-02-03 08:00:00", "2021-02-03 08:10:00") + ",2021-02-04 08:00:00"],
    )
    with pytest.raises(FileFaultError, match="names the column started_at twice"):
        read_actions(path, "citibike")


@pytest.mark.parametrize(
    ("names", "told"),
    [
        ("starttime,Start Time", "one column twice, as starttime and Start Time"),
        ("started_at,starttime", "one column twice, as started_at and starttime"),
        ("Started_At,started_at", "one column twice, as Started_At and started_at"),
        ("starttime,starttime", "the column starttime twice"),
    ],
)
def test_a_column_that_stands_twice_in_two_spellings_is_refused(tmp_path, names, told):
    path = write_csv(tmp_path / "rides.csv", CITIBIKE_COLUMNS.replace("started_at", names), [])
    with pytest.raises(FileFaultError) as fault:
        read_actions(path, "citibike")
    assert str(fault.value) == f"{path} names {told}: which one counts?"


BEGAN = datetime(2026, 12, 1, 1, 38, 17, tzinfo=UTC)


@pytest.mark.parametrize("offset", ["+00:00", "Z", "+0000"])
def test_a_time_with_an_offset_is_the_instant_that_was_written(tmp_path, offset):
    ended = "2026-12-01T09:48:17+08:00"
    (trip,) = read_rides(tmp_path, ride("A" * 16, f"2026-12-01T01:38:17{offset}", ended)).actions
    assert trip.at == BEGAN
    assert trip.attributes["duration_min"] == 10.0


@pytest.mark.parametrize("times", [("01:38:17Z", "09:48:17"), ("09:38:17", "01:48:17+00:00")])
def test_a_trip_of_which_one_time_alone_has_an_offset_is_not_guessed(tmp_path, times):
    other = ride("B" * 16, "2026-12-01T01:00:00", "2026-12-01T01:10:00")
    found = read_rides(tmp_path, ride("A" * 16, *(f"2026-12-01T{at}" for at in times)), other)
    assert (len(found.actions), found.unreadable) == (1, 1)
    words = "of started_at and ended_at one has an offset, the other none"
    assert found.first_unreadable.endswith(f"rides.csv:2: {words}")


@pytest.mark.parametrize("at", ["0001-01-01T00:00:00Z", "9999-12-31T23:00:00-05:00"])
def test_a_time_that_is_none_in_some_zone_is_a_bad_row(tmp_path, at):
    other = ride("B" * 16, "2026-12-01T01:00:00", "2026-12-01T01:10:00")
    found = read_rides(tmp_path, ride("A" * 16, at, at), other)
    assert found.first_unreadable.endswith(f"started_at {at!r} is no time")
    edge_ms = -62_135_596_800_000
    trips = mds_trip(1, 1_796_025_600), mds_trip(2, 0, start_time=edge_ms)
    found = read_actions(write_mds(tmp_path / "trips.json", *trips), "mds")
    assert found.first_unreadable.endswith(f"start_time {edge_ms} is no time")


DIGITS = "1" + "0" * 399


@pytest.mark.parametrize(
    ("member", "number", "told"),
    [
        ("distance", DIGITS, "distance 1000"),
        ("start_time", DIGITS, "start_time 1000"),
        ("end_time", f"-{DIGITS}", "end_time -1000"),
        ("start_time", f'"{DIGITS}"', "start_time '1000"),
        ("distance", "1" * 5_000, ""),
        ("distance", "1e400", ""),
    ],
)
def test_a_number_of_hundreds_of_digits_is_a_bad_row_and_no_more(tmp_path, member, number, told):
    path = tmp_path / "trips.json"
    good, bad = (json.dumps(mds_trip(n, 1_796_025_600)) for n in (1, 2))
    held = json.loads(bad)[member]
    bad = bad.replace(f'"{member}": {json.dumps(held)}', f'"{member}": {number}')
    path.write_text(f'{{"trips": [{bad}, {good}]}}')
    found = read_actions(path, "mds")
    assert (len(found.actions), found.unreadable) == (1, 1)
    assert found.first_unreadable.startswith(f"{path}, trip 1: {told}")
    assert len(found.first_unreadable.removeprefix(str(path))) < 120


def test_a_long_cell_is_told_in_short(tmp_path):
    rows = steps(7, "4/12/2016", DIGITS), steps(7, "x" * 400, "1.00"), steps(7, "4/14/2016", "1.00")
    told = read_steps(tmp_path, *rows).first_unreadable.removeprefix(str(tmp_path))
    assert told.startswith("/steps.csv:2: TotalSteps '1000")
    assert len(told) < 120


def test_a_byte_order_mark_before_trips_of_mds_is_passed_over(tmp_path):
    path = write_mds(tmp_path / "trips.json", mds_trip(1, 1_796_025_600))
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert len(read_actions(path, "mds").actions) == 1


@pytest.mark.parametrize(
    "text",
    [
        '{"trips": {}}',
        '{"trips": "abc"}',
        '{"trips": null}',
        '{"trips": 7}',
        '{"data": {"trips": {}}}',
        '{"data": []}',
    ],
)
def test_trips_of_mds_that_are_no_list_are_told_as_that(tmp_path, text):
    path = tmp_path / "trips.json"
    path.write_text(text)
    with pytest.raises(FileFaultError) as fault:
        read_actions(path, "mds")
    assert str(fault.value) == f"{path} has no list of trips: is it of form mds?"


def test_a_member_of_mds_that_stands_twice_is_refused(tmp_path):
    path = write_mds(tmp_path / "trips.json", *(mds_trip(n, 1_796_025_600) for n in (1, 2)))
    text = path.read_text()
    path.write_text(text.replace('"distance": 2100', '"distance": 2100, "distance": 9', 1))
    found = read_actions(path, "mds")
    assert (len(found.actions), found.first_unreadable) == (
        1,
        f"{path}, trip 1: names distance twice",
    )
    path.write_text(text.replace('"distance": 2100', '"distance": 2100, "trip_distance": 9', 1))
    told = read_actions(path, "mds").first_unreadable
    assert told == f"{path}, trip 1: tells distance and trip_distance: which one counts?"
    path.write_text(text.replace('{"version"', '{"trips": [], "version"'))
    with pytest.raises(FileFaultError, match="names trips twice: which one counts"):
        read_actions(path, "mds")


def test_rows_of_empty_cells_are_nobodys(tmp_path):
    row = ride("A" * 16, "2021-02-03 08:00:00", "2021-02-03 08:10:00")
    found = read_rides(tmp_path, row, "," * 12, "", " , " * 20)
    assert (len(found.actions), found.unreadable) == (1, 0)
