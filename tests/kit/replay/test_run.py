"""Replays through the real API: what they pay, what a second one changes, what a kill -9 leaves."""

import asyncio
from datetime import date, timedelta
from zoneinfo import ZoneInfo

import asyncpg
import pytest
from click.testing import CliRunner

from kit.ports import free_port
from kit.replay.api import Api, open_api
from kit.replay.commands import replay
from kit.replay.plan import Order, plan_days
from kit.replay.read import read_actions
from kit.replay.run import Replay
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
from tests.people import served, settings_for

SHANGHAI = ZoneInfo("Asia/Shanghai")


@pytest.fixture
async def quiet_client(servers, fresh_database_url, tmp_path):
    """A client of an application with a database of the test's own."""
    async with served(settings_for(servers, fresh_database_url, tmp_path / "quiet")) as client:
        yield client


async def play(api, days):
    """What became of the actions, and everybody's book afterwards."""
    playing = Replay(api, SHANGHAI, lambda _day, _done: None)
    await playing.run(days)
    books = await playing.books()
    return playing.tally, [(book["balances"], book["totals"]) for book in books]


def plan(path, form, start, people=None):
    return plan_days(read_actions(path, form).actions, Order(form, start, SHANGHAI, people))


async def tomorrow(client):
    now = (await client.get("/v1/dev/clock")).json()["now"]
    return date.fromisoformat(now[:10]) + timedelta(days=2)


def three_days_of_rides(path):
    place = ("40.7", "-74.0")
    return write_csv(
        path,
        CITIBIKE_COLUMNS,
        [
            ride("A" * 16, "2021-02-03 23:50:00", "2021-02-04 00:10:00"),
            ride("B" * 16, "2021-02-03 23:55:00", "2021-02-04 00:05:00"),
            ride("C" * 16, "2021-02-03 08:00:00", "2021-02-03 08:10:00", start=place, end=place),
            ride("D" * 16, "2021-02-05 08:00:00", "2021-02-06 09:00:00", end=("", "")),
            ride("E" * 16, "2021-02-05 09:00:00", "2021-02-05 08:58:35"),
        ],
    )


async def test_each_row_is_paid_or_refused_with_its_reason(quiet_client, tmp_path):
    path = three_days_of_rides(tmp_path / "rides.csv")
    days = plan(path, "citibike", await tomorrow(quiet_client), people=1)
    tally, ((balances, totals),) = await play(Api(quiet_client, 5), days)
    assert (tally.accepted.actions, tally.duplicate.actions) == (2, 0)
    assert tally.refused == {
        "action-refused (overlap)": 1,
        "invalid-attributes (distance_km is required)": 1,
        "invalid-attributes (duration_min must be a number from 0.5 to 1440)": 1,
    }
    assert tally.accepted.energy_g == tally.collected_g == balances["available_g"] > 0
    assert balances["ripening_g"] == balances["expired_g"] == 0
    assert totals["saved_g"] == tally.accepted.saved_g


async def test_a_second_replay_changes_no_balance_and_never_moves_the_clock_back(
    quiet_client, tmp_path
):
    rows = [
        steps(person, f"{month}/{day}/2016", "21000.00", "14.00")
        for person in (11, 22)
        for month, day in (("04", "29"), ("4", "30"), ("05", "01"))
    ]
    path = write_csv(tmp_path / "steps.csv", STEPS_COLUMNS, [*rows, steps(33, "4/30/2016", "0")])
    days = plan(path, "steps", await tomorrow(quiet_client))
    first, books = await play(Api(quiet_client, 5), days)
    assert first.accepted.energy_g == 2 * 3 * 296
    assert [balances["available_g"] for balances, _ in books] == [888, 888, 0]
    clock = (await quiet_client.get("/v1/dev/clock")).json()["now"]

    second, same_books = await play(Api(quiet_client, 5), days)
    assert second.accepted.actions == second.collected_g == 0
    assert second.duplicate == first.accepted
    assert second.refused == first.refused
    assert same_books == books
    later = (await quiet_client.get("/v1/dev/clock")).json()["now"]
    assert later[:13] == clock[:13]


async def test_trips_of_other_forms_are_played_too(quiet_client, tmp_path):
    former = tmp_path / "before.csv"
    former.write_text(FORMER_CITIBIKE)
    trips = write_mds(tmp_path / "trips.json", mds_trip(1, 1_796_025_600))
    start = await tomorrow(quiet_client)
    tally, _ = await play(Api(quiet_client, 5), plan(former, "citibike", start, people=3))
    assert tally.accepted.actions == 1
    assert tally.refused == {"invalid-attributes (distance_km is required)": 1}
    days = plan(trips, "mds", start + timedelta(days=8), people=3)
    tally, _ = await play(Api(quiet_client, 5), days)
    assert (tally.accepted.actions, tally.refused) == (1, {})


async def test_far_dates_are_one_line_and_code_1(live_server, tmp_path):
    near, far = ("1/1/2024", "1/2/2024"), ("1/1/0001", "12/31/9999")
    for start, dates in (("2026-12-01", far), ("9999-12-31", near), ("0001-01-01", near)):
        rows = [steps(1, day, "100.00") for day in dates]
        path = write_csv(tmp_path / "ages.csv", STEPS_COLUMNS, rows)
        words = [str(path), "--format", "steps", "--any-span", "--start", start]
        told = await asyncio.to_thread(
            CliRunner().invoke, replay, [*words, "--url", live_server.url], catch_exceptions=False
        )
        assert told.exit_code == 1
        assert told.stderr == f"ages.csv: begun on {start} it leaves the years 2000 to 2199.\n"


async def test_killed_in_the_middle_and_run_again_it_ends_like_an_undisturbed_one(
    quiet_client, live_server, settings, tmp_path
):
    # Nobody rides on two days: what a person has not collected is not collected along with more.
    rows = [
        ride(
            f"{day:02d}{station:02d}{turn:012d}",
            f"2021-02-{day:02d} 08:{20 * turn + station:02d}:00",
            f"2021-02-{day:02d} 08:{20 * turn + station + 12:02d}:00",
            station=f"JC{day}-{station // 2}",
        )
        for day in range(1, 9)
        for station in range(8)
        for turn in range(3)
    ]
    path = write_csv(tmp_path / "rides.csv", CITIBIKE_COLUMNS, rows)
    start = await tomorrow(quiet_client)
    days = plan(path, "citibike", start, people=500)
    tally, undisturbed = await play(Api(quiet_client, 5), days)
    assert tally.refused["action-refused (overlap)"] > 0

    words = ["replay", str(path), "--format", "citibike", "--people", "500", "--start", str(start)]
    broken = live_server.command(*words, "--patience", "0.2", wait=False)
    stored = await stored_at_least(settings.database_url, tally.accepted.actions // 3)
    live_server.kill()
    assert await asyncio.to_thread(broken.wait, 30) == 1
    assert f"Run it again with --start {start} to complete it." in live_server.said()
    assert stored < tally.accepted.actions

    live_server.start()
    completed = await asyncio.to_thread(live_server.command, *words)
    assert completed.returncode == 0, completed.stderr
    assert "Board energy" in completed.stdout
    async with open_api(live_server.url) as api:
        again, disturbed = await play(api, days)
    assert again.duplicate == tally.accepted
    assert disturbed == undisturbed


async def stored_at_least(database_url, number):
    """Wait until so many actions are stored; how many were."""
    connection = await asyncpg.connect(database_url)
    try:
        while True:
            stored = await connection.fetchval("SELECT count(*) FROM actions")
            if stored >= number:
                return stored
    finally:
        await connection.close()


def test_an_api_that_is_not_there_is_one_line_and_code_1(tmp_path):
    path = three_days_of_rides(tmp_path / "rides.csv")
    url = f"http://127.0.0.1:{free_port()}"
    words = [str(path), "--format", "citibike", "--patience", "0", "--url", url]
    result = CliRunner().invoke(replay, words)
    assert result.exit_code == 1
    assert result.stderr.startswith(f"{url} does not serve GET /v1/program")
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "words",
    [
        ["nowhere.csv", "--format", "citibike"],
        [__file__],
        [__file__, "--format", "strava"],
        [__file__, "--format", "steps", "--start", "tomorrow"],
        [__file__, "--format", "steps", "--url", "127.0.0.1:8000"],
    ],
)
def test_wrong_usage_is_code_2(words):
    assert CliRunner().invoke(replay, words).exit_code == 2
