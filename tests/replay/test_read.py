from datetime import datetime

import pytest

from service.replay.read import FileFaultError, great_circle_km, read_actions
from tests.replay.files import CITIBIKE_COLUMNS, STEPS_COLUMNS, ride, steps, write_csv


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
