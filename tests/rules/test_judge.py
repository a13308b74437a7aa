"""Type, attributes, reporter, time and plausibility of an action, one case a row."""

import math
from datetime import UTC, date, datetime, timedelta

import pytest

from service.rules.decide.judge import Candidate, Claimed, Judged, Refusal, duration_text, judge
from service.rules.decide.rulebook import CounterKey
from tests.rules.sets import NOW, PROGRAM, candidate, rulebook_of

TYPES = """
action_types:
  transit.trip:
    title: Trip
    category: mobility
    reported_by: [partner, device]
    attributes:
      distance_km: {type: number, minimum: 0.1, maximum: 120, unit: km}
      duration_min: {type: number, minimum: 1, maximum: 300, unit: min, required: false}
      ticket_no: {type: string, max_length: 12, pattern: "[A-Z0-9-]+", required: false}
      riders: {type: integer, minimum: 1, required: false}
      note: {type: string, required: false}
      kind: {type: string, one_of: [bus, metro], required: false}
      electric: {type: boolean, required: false}
      balance: {type: number, maximum: 5, required: false}
    accepted_for: 2d
    plausible: "!has(duration_min) || distance_km / (duration_min / 60) <= 90"
    lasts: duration_min
    overlap: exclusive
    claim: {by: [ticket_no, riders], per: month, within: partner}
  office.day:
    title: Day
    category: office
    reported_by: [participant]
    plausible: verified || reporter == "participant" && hour >= 8 && weekday <= 5
    claim: {by: day_no}
    attributes:
      day_no: {type: number}
  home.nothing: {title: Nothing, category: home, reported_by: [participant]}
"""
BOOK = rulebook_of(PROGRAM, TYPES)


def trip(now=NOW, **attributes):
    reporter = attributes.pop("reporter", "partner")
    occurred_at = attributes.pop("occurred_at", NOW)
    partner_id = attributes.pop("partner_id", "metro-co")
    return judge(
        BOOK,
        Candidate(
            "transit.trip", attributes, occurred_at, reporter, reporter == "partner", partner_id
        ),
        now,
    )


def test_an_ordinary_trip_is_accepted():
    judged = trip(distance_km=8.2, duration_min=20, ticket_no="A-1", riders=2)
    assert isinstance(judged, Judged)
    assert judged.local_date == date(2026, 11, 21)
    assert judged.ends_at == NOW + timedelta(minutes=20)
    assert judged.exclusive
    scope, value = "transit.trip/ticket_no+riders/month/partner", '["a-1",2]@2026-11'
    assert judged.claims == (Claimed(f"{scope}/metro-co", value), Claimed(scope, value, True))
    assert judged.counters == ()


def test_what_did_not_come_is_no_claim_and_no_span():
    judged = trip(distance_km=8.2, riders=2)
    assert (judged.ends_at, judged.exclusive, judged.claims) == (None, False, ())


def test_equal_values_make_equal_claims():
    assert (
        trip(distance_km=1, ticket_no="A", riders=2).claims
        == trip(distance_km=2, ticket_no="A", riders=2.0).claims
    )
    first = judge(BOOK, candidate("office.day", {"day_no": 3}), NOW - timedelta(days=1))
    again = judge(BOOK, candidate("office.day", {"day_no": 3.0}), NOW)
    assert isinstance(first, Refusal)  # in the future by then
    assert isinstance(again, Refusal)  # a Saturday


def test_values_cannot_be_made_to_look_like_others():
    tricky = trip(distance_km=1, ticket_no="A", riders=1, partner_id="x/metro-co")
    scope, value, is_own = tricky.claims[0]
    assert scope.endswith("/partner/x/metro-co")
    assert (value, is_own) == ('["a",1]@2026-11', False)


@pytest.mark.parametrize(
    ("attributes", "pointer", "detail"),
    [
        ({}, "distance_km", "distance_km is required"),
        ({"distance_km": 0}, "distance_km", "distance_km must be a number from 0.1 to 120"),
        ({"distance_km": 121}, "distance_km", "distance_km must be a number from 0.1 to 120"),
        ({"distance_km": True}, "distance_km", "distance_km must be a number from 0.1 to 120"),
        ({"distance_km": "8"}, "distance_km", "distance_km must be a number from 0.1 to 120"),
        ({"distance_km": None}, "distance_km", "distance_km must be a number from 0.1 to 120"),
        ({"distance_km": [1]}, "distance_km", "distance_km must be a number from 0.1 to 120"),
        ({"distance_km": math.nan}, "distance_km", "distance_km must be a number from 0.1 to 120"),
        ({"distance_km": math.inf}, "distance_km", "distance_km must be a number from 0.1 to 120"),
        ({"distance_km": 10**400}, "distance_km", "distance_km must be a number from 0.1 to 120"),
        ({"balance": -math.inf}, "balance", "balance must be a number from -1e+15 to 5"),
        ({"balance": -1e16}, "balance", "balance must be a number from -1e+15 to 5"),
        ({"riders": 1.5}, "riders", "riders must be a whole number from 1 to 9007199254740991"),
        ({"riders": 2**53}, "riders", "riders must be a whole number from 1 to 9007199254740991"),
        ({"riders": False}, "riders", "riders must be a whole number from 1 to 9007199254740991"),
        (
            {"riders": math.inf},
            "riders",
            "riders must be a whole number from 1 to 9007199254740991",
        ),
        ({"electric": 1}, "electric", "electric must be true or false"),
        ({"electric": "true"}, "electric", "electric must be true or false"),
        ({"kind": "buss"}, "kind", "kind must be one of bus, metro; did you mean bus?"),
        ({"kind": 5}, "kind", "kind must be one of bus, metro"),
        ({"ticket_no": 5}, "ticket_no", "ticket_no must be a text"),
        ({"ticket_no": ""}, "ticket_no", "ticket_no must not be empty"),
        ({"ticket_no": "A" * 13}, "ticket_no", "ticket_no must have at most 12 characters"),
        ({"ticket_no": "a"}, "ticket_no", "ticket_no must fit the pattern [A-Z0-9-]+"),
        ({"ticket_no": "A\nA"}, "ticket_no", "ticket_no must fit the pattern [A-Z0-9-]+"),
        ({"ticket_no": "A\0"}, "ticket_no", "ticket_no must not hold a NUL character"),
        ({"note": "\ud83d"}, "note", "note must be valid Unicode"),
        ({"note": "x" * 201}, "note", "note must have at most 200 characters"),
        (
            {"tickets_no": 1},
            "tickets_no",
            "'tickets_no' is not an attribute here; did you mean ticket_no?",
        ),
        (
            {"a/b~c": 1},
            "a~1b~0c",
            (
                "'a/b~c' is not an attribute here; allowed are distance_km, duration_min, "
                "ticket_no, riders, note, kind, electric, balance"
            ),
        ),
    ],
)
def test_a_bad_attribute_has_its_pointer(attributes, pointer, detail):
    refusal = trip(
        **({"distance_km": 8.2} if "distance_km" not in attributes and attributes else {}),
        **attributes,
    )
    assert refusal.code == "invalid-attributes"
    assert refusal.reason is None
    assert refusal.errors == ((f"/attributes/{pointer}", detail),)
    assert detail in refusal.detail


def test_every_bad_attribute_is_told_at_once():
    refusal = trip(distance_km=0, riders="x", foo=1, kind=[])
    assert [pointer for pointer, _ in refusal.errors] == [
        "/attributes/distance_km",
        "/attributes/riders",
        "/attributes/kind",
        "/attributes/foo",
    ]


def test_a_flood_of_unknown_attributes_is_cut():
    refusal = trip(distance_km=1, **{f"x{index}": 1 for index in range(500)}, **{"y" * 900: 1})
    assert len(refusal.errors) == 50
    assert trip(distance_km=1, **{"y" * 900: 1}).errors[0][0] == "/attributes/" + "y" * 80


def test_a_name_that_is_no_unicode_can_still_be_answered():
    ((pointer, detail),) = trip(distance_km=1, **{"a\ud83d": 1}).errors
    assert pointer == "/attributes/a?"
    assert detail.startswith("'a\\ud83d' is not an attribute here")


def test_a_type_without_attributes_takes_none():
    refusal = judge(BOOK, candidate("home.nothing", {"x": 1}), NOW)
    assert refusal.errors == (("/attributes/x", "'x' is not an attribute here; none are allowed"),)
    assert isinstance(judge(BOOK, candidate("home.nothing", {}), NOW), Judged)


@pytest.mark.parametrize(
    "attributes", [{"note": "héllo 😀 地铁"}, {"riders": 3.0}, {"balance": -7}]
)
def test_unusual_but_good_attributes_are_accepted(attributes):
    assert isinstance(trip(distance_km=8, **attributes), Judged)


def test_an_unknown_type_is_told_with_the_nearest():
    refusal = judge(BOOK, candidate("transit.tripp", {}), NOW)
    assert refusal == Refusal(
        "unknown-action-type",
        None,
        "There is no action type 'transit.tripp'; did you mean transit.trip?",
    )
    assert judge(BOOK, candidate("x" * 500, {}), NOW).detail.endswith("...'.")


def test_a_reporter_who_may_not_is_refused():
    refusal = trip(distance_km=1, reporter="participant")
    assert (refusal.code, refusal.reason) == ("action-refused", "reporter-not-allowed")
    assert refusal.detail == (
        "transit.trip is reported by a device or partner, not by a participant."
    )


@pytest.mark.parametrize(
    ("age", "reason", "detail"),
    [
        (timedelta(days=2), None, ""),
        (
            timedelta(days=2, seconds=1),
            "too-late",
            (
                "transit.trip is accepted for 2 days after it happened: "
                "this one until 2026-11-21T09:59:59Z."
            ),
        ),
        (timedelta(minutes=-5), None, ""),
        (
            timedelta(minutes=-5, seconds=-1),
            "in-future",
            (
                "It is 2026-11-21T10:00:00Z, and this happens at 2026-11-21T10:05:01Z; "
                "5 min are tolerated."
            ),
        ),
    ],
)
def test_only_the_start_is_compared_with_the_clock(age, reason, detail):
    verdict = trip(distance_km=100, duration_min=300, occurred_at=NOW - age)
    if reason is None:
        assert isinstance(verdict, Judged)
    else:
        assert (verdict.code, verdict.reason, verdict.detail) == ("action-refused", reason, detail)


def test_an_implausible_trip_is_refused_with_the_condition():
    refusal = trip(distance_km=100, duration_min=30)
    assert (refusal.code, refusal.reason) == ("action-refused", "implausible")
    assert "distance_km / (duration_min / 60) <= 90" in refusal.detail


@pytest.mark.parametrize(
    ("occurred_at", "verified", "accepted"),
    [
        (datetime(2026, 11, 20, 0, 0, tzinfo=UTC), False, True),  # Friday, 8:00 in Shanghai
        (datetime(2026, 11, 19, 23, 59, tzinfo=UTC), False, False),  # Friday, 7:59
        (datetime(2026, 11, 20, 16, 0, tzinfo=UTC), False, False),  # Saturday, 0:00
        (datetime(2026, 11, 20, 16, 0, tzinfo=UTC), True, True),
    ],
)
def test_plausibility_knows_hour_weekday_reporter_and_verified(occurred_at, verified, accepted):
    asked = candidate("office.day", {"day_no": 1}, occurred_at=occurred_at, verified=verified)
    assert isinstance(judge(BOOK, asked, NOW), Judged) is accepted


def test_counters_are_counted_under_the_local_date():
    book = rulebook_of(
        PROGRAM,
        TYPES,
        """
rules:
  - id: trip
    action: transit.trip
    title: Trip
    earns: 5
    limits:
      - {per: day, count: 5}
      - {per: day, grams: 20}
      - {per: week, count: 9, group: trips}
      - {per: month, count: 9, by: riders}
      - {per: year, count: 9, by: note}
      - {per: ever, count: 9, by: electric}
""",
    )
    late = datetime(2026, 12, 31, 17, tzinfo=UTC)  # the first of January in Shanghai
    attributes = {"distance_km": 1, "riders": 2.0, "note": "x" * 65, "electric": True}
    judged = judge(
        book,
        candidate("transit.trip", attributes, occurred_at=late, reporter="partner"),
        late,
    )
    assert judged.counters[:3] == (
        CounterKey("trip/day/", "2027-01-01", ""),
        CounterKey("group:trips/week/", "2026-W53", ""),
        CounterKey("trip/month/riders", "2027-01", "2"),
    )
    assert judged.counters[3][:2] == ("trip/year/note", "2027")
    assert judged.counters[3].by_key.startswith("sha256:")
    assert len(judged.counters[3].by_key) == 71
    assert judged.counters[4] == CounterKey("trip/ever/electric", "ever", "true")
    without = judge(
        book, candidate("transit.trip", {"distance_km": 1}, reporter="partner"), NOW
    ).counters
    assert [key.by_key for key in without] == ["", "", "", "", ""]


@pytest.mark.parametrize(
    ("duration", "text"),
    [
        (timedelta(days=7), "7 days"),
        (timedelta(days=1, hours=3, minutes=9), "1 day 3 h"),
        (timedelta(hours=2, minutes=5, seconds=9), "2 h 5 min"),
        (timedelta(minutes=5, seconds=1), "5 min"),
        (timedelta(seconds=30), "30 s"),
        (timedelta(), "0 s"),
    ],
)
def test_durations_are_said_in_two_units(duration, text):
    assert duration_text(duration) == text
