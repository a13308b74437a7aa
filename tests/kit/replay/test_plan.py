import json
from datetime import date, datetime
from zoneinfo import ZoneInfo

import pytest

from kit.replay.plan import Order, plan_days, plan_partner_days
from kit.replay.read import FoundAction, read_actions
from tests.kit.replay.files import CITIBIKE_COLUMNS, ride, write_csv

SHANGHAI = ZoneInfo("Asia/Shanghai")
START = date(2026, 12, 1)


def trip(key, at, doer="JC1/08"):
    return FoundAction(key, doer, datetime.fromisoformat(at), "mobility.bike", {"distance_km": 1.0})


def plan(*actions, people=300, start=START, zone=SHANGHAI):
    return plan_days(actions, Order("citibike", start, zone, people))


def items_of(day):
    bodies = [post.body for report in day.reports for post in report.posts]
    return [item for body in bodies for item in json.loads(body)["actions"]]


def test_the_same_file_and_start_give_the_same_bodies_byte_for_byte(tmp_path):
    rows = [
        ride(f"{n:016X}", f"2021-02-{n % 27 + 1:02d} 08:{n % 60:02d}:00", "2021-02-28 23:00:00")
        for n in range(200)
    ]
    forwards = write_csv(tmp_path / "forwards.csv", CITIBIKE_COLUMNS, rows)
    backwards = write_csv(tmp_path / "backwards.csv", CITIBIKE_COLUMNS, rows[::-1])
    plans = [plan(*read_actions(path, "citibike").actions) for path in (forwards, backwards)]
    assert plans[0] == plans[1]


def test_another_start_gives_other_keys():
    (one,), (other,) = (
        items_of(plan(trip("A" * 16, "2021-02-03T08:00"), start=start)[0])
        for start in (START, date(2026, 12, 2))
    )
    assert one["idempotency_key"] != other["idempotency_key"]


def test_the_first_day_is_the_start_and_a_time_stays_that_time_of_the_programmes_day():
    days = plan(trip("A" * 16, "2021-02-03T00:30"), trip("B" * 16, "2021-02-05T23:45"))
    assert [day.date.isoformat() for day in days] == ["2026-12-01", "2026-12-02", "2026-12-03"]
    assert items_of(days[0])[0]["occurred_at"] == "2026-11-30T16:30:00Z"
    assert days[1].reports == ()
    assert items_of(days[2])[0]["occurred_at"] == "2026-12-03T15:45:00Z"


def test_a_time_with_an_offset_is_played_at_that_instant_of_the_programmes_day():
    days = plan(
        trip("A" * 16, "2026-11-30T16:30:00+00:00"),
        trip("B" * 16, "2026-12-01T00:20:00"),
        trip("C" * 16, "2026-12-01T11:00:00-05:00"),
    )
    told = [[item["occurred_at"] for item in items_of(day)] for day in days]
    assert told == [["2026-11-30T16:20:00Z", "2026-11-30T16:30:00Z"], ["2026-12-01T16:00:00Z"]]


def test_start_and_hour_decide_who_it_was():
    days = plan(
        trip("A" * 16, "2021-02-03T08:00", "JC1/08"),
        trip("B" * 16, "2021-02-03T08:30", "JC1/08"),
        trip("C" * 16, "2021-02-03T09:00", "JC1/09"),
    )
    assert [[post.size for post in report.posts] for report in days[0].reports] == [[2], [1]]


def test_nobody_is_made_up_who_is_in_the_file():
    days = plan(trip("A" * 16, "2021-02-03T08:00", "1503960366"), people=None)
    assert days[0].reports[0].subjects == ("replay-citibike-1503960366",)


def test_a_long_day_is_sent_in_parts_that_keep_the_order_of_time():
    rides = [trip(f"{n:016d}", f"2021-02-03T{n // 60:02d}:{n % 60:02d}") for n in range(250)]
    (day,) = plan(*rides, people=1)
    assert [post.size for post in day.reports[0].posts] == [100, 100, 50]
    times = [item["occurred_at"] for item in items_of(day)]
    assert times == sorted(times)


@pytest.mark.parametrize("ride_id", ["A", "A B", "Ä" * 16, "x" * 5000, "A" * 16])
def test_every_key_is_one_that_the_api_accepts(ride_id):
    (item,) = items_of(plan(trip(ride_id, "2021-02-03T08:00"))[0])
    key = item["idempotency_key"]
    assert 16 <= len(key) <= 128
    assert all("!" <= character <= "~" for character in key)


def test_a_partner_tells_a_day_in_batches_of_events_in_the_order_of_time():
    rides = [trip(f"{n:016d}", f"2021-02-03T{n // 60:02d}:{n % 60:02d}") for n in range(1_001)]
    days = plan_partner_days(rides, Order("citibike", START, SHANGHAI, 7))
    (report,) = days[0].reports
    assert [post.size for post in report.posts] == [500, 500, 1]
    events = [event for post in report.posts for event in json.loads(post.body)]
    assert [event["time"] for event in events] == sorted(event["time"] for event in events)
    assert len({event["id"] for event in events}) == 1_001
    assert {event["subject"] for event in events} == set(report.subjects)
    assert events[0]["data"] == {
        **rides[0].attributes,
        "ride_no": events[0]["id"],
    }


def test_two_long_ids_are_two_rides_and_a_short_one_stays_as_it_is():
    keys = ["short", "x" * 80 + "1", "x" * 80 + "2"]
    rides = [trip(key, f"2021-02-03T08:0{n}") for n, key in enumerate(keys)]
    (day,) = plan_partner_days(rides, Order("citibike", START, SHANGHAI, 7))
    first, *long = [e["data"]["ride_no"] for e in json.loads(day.reports[0].posts[0].body)]
    assert first == "2026-12-01-short"
    assert len({*long}) == 2
    assert {len(ride_no) for ride_no in long} == {64}


def test_a_partner_keeps_silent_on_a_day_without_trips():
    rides = (trip("A" * 16, "2021-02-03T08:00"), trip("B" * 16, "2021-02-05T08:00"))
    days = plan_partner_days(rides, Order("citibike", START, SHANGHAI, 7))
    assert [len(day.reports) for day in days] == [1, 0, 1]
