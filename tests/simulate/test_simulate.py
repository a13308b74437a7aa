"""Simulations: exactly what was paid under the rules that paid it, and what others would pay."""

import io
import re
from contextlib import asynccontextmanager
from datetime import timedelta

import asyncpg
import msgspec
import pytest
from rich.console import Console

from service.actions.order import participant_report, partner_report
from service.actions.report import EventRef
from service.platform.database import open_database
from service.platform.errors import UnavailableError
from service.platform.settings import Settings
from service.rulebooks.checked import compile_rulebook_or_raise
from service.simulate.passes import Trial, simulate
from service.simulate.period import Period
from service.simulate.report import simulation_report
from service.simulate.shown import print_simulation
from service.simulate.worker import connect_to_read
from tests.actions.histories import DAYS, RULES, SECRET, START, erase, live, publish_text, town
from tests.callers import saxaul
from tests.databases import lent
from tests.orders import settle

END = START + timedelta(days=DAYS + 1)


@pytest.fixture
async def lived(database):
    """What happened in the town of this module: recorded once, only read by the tests."""
    if not await database.pool.fetchval("SELECT count(*) FROM actions"):
        rulebook = await publish_text(database, RULES, START)
        people = await town(database)
        await live(database, rulebook, people, days=range(9))
        for person in people[:2]:
            await erase(database, person, START + timedelta(days=9))
        await live(database, rulebook, people[2:], days=range(9, DAYS))
    return database


@pytest.fixture
async def here(servers, template_database, settings):
    """A town of the test's own, and its address."""
    async with lent(servers, template_database) as url:
        opened = await open_database(settings, url)
        yield opened, url
        await opened.close()


@pytest.fixture
def simulated(settings):
    """Simulate a text over a part of a history."""

    async def run(text, *, start=START, end=END, as_recorded=False, processes=1, url=None):
        draft = compile_rulebook_or_raise({"rules.yaml": text})
        return await simulate(
            url or settings.database_url,
            Trial(draft, {"rules.yaml": text}, Period(start, end), as_recorded),
            secret=settings.secret_key.encode(),
            processes=processes,
        )

    return run


@pytest.fixture
def tried(simulated):
    """Simulate; gives the report for programs."""

    async def run(text, **more):
        return reported(await simulated(text, **more))

    return run


def reported(simulation):
    return msgspec.to_builtins(simulation_report(simulation))


def assert_same(report):
    """Under the draft everything comes out as it was paid, to the gram."""
    assert report["changed_actions"] == 0
    assert report["settled"]
    assert report["largest_changes"] == report["refused"] == []
    totals = report["totals"]
    assert totals["energy_before_g"] == totals["energy_after_g"] > 0
    assert totals["saved_before_g"] == totals["saved_after_g"]
    for part in ("days", "rules"):
        for each in report[part]:
            assert each["energy_before_g"] == each["energy_after_g"], each
            assert each["saved_before_g"] == each["saved_after_g"], each
    for each in report["rules"]:
        assert each["awards_before"] == each["awards_after"], each
    for each in report["limits"]:
        assert each["cut_before"] == each["cut_after"], each
    for each in report["campaigns"]:
        assert each["extra_before_g"] == each["extra_after_g"], each
    assert report["people"]["gain"] == report["people"]["lose"] == 0


async def paid(database, start=START, end=END):
    """What the ledger says was given in the period."""
    return await database.pool.fetchval(
        "SELECT sum(energy_g)::bigint FROM actions WHERE recorded_at >= $1 AND recorded_at < $2",
        start,
        end,
    )


async def test_the_active_version_gives_what_was_paid(lived, tried):
    report = await tried(RULES)
    assert_same(report)
    assert report["totals"]["energy_before_g"] == await paid(lived)
    # What the history must hold, or the sameness would say little.
    assert report["actions"] > 500
    assert report["reversals"] > 20
    assert report["erased"]["actions"] > 30
    assert f"{report['erased']['actions']:,} actions of erased people" in report["notes"][1]
    assert {each["rule"] for each in report["limits"] if each["cut_before"]} >= {
        "bottle", "ride", "shoes", "walk", "walk-evening",
    }  # fmt: skip
    (boxes, walks, zhejiang) = report["campaigns"]
    assert (boxes["extra_before_g"], boxes["budget_ends"]) == (900, True)
    assert walks["extra_before_g"] > 1_000
    assert not walks["budget_ends"]
    assert zhejiang["extra_before_g"] > 500
    assert report["versions"] == [{"version": 1, "actions": report["actions"]}]


@pytest.mark.parametrize("first", [1.5, 4, 7.25, 12])
async def test_any_part_of_a_history_begins_as_it_stood_then(lived, tried, first):
    """Limits, trips, budgets and reversals reach into the period from before it."""
    start, end = START + timedelta(days=first), START + timedelta(days=first + 3)
    report = await tried(RULES, start=start, end=end)
    assert_same(report)
    assert report["totals"]["energy_before_g"] == await paid(lived, start, end)


async def test_how_many_processes_share_the_work_changes_nothing(lived, tried):
    draft = RULES.replace("budget_g: 900", "budget_g: 700").replace("296", "250")
    alone, shared = await tried(draft, processes=1), await tried(draft, processes=2)
    assert alone == shared
    assert alone["changed_actions"]


async def test_a_trip_of_before_is_in_the_way_of_what_lasts_longer_under_the_draft(here, tried):
    """A minute becomes an hour: the second ride, told the next day, runs into the first."""
    database, url = here
    rulebook = await publish_text(database, RULES, START)
    (person,) = await town(database, 1)
    for days, hours in ((0, -1), (1, -25.5)):
        now = START + timedelta(days=days)
        ride = participant_report(
            person,
            type_="mobility.bike",
            occurred_at=now + timedelta(hours=hours),
            attributes={"distance_km": 0.2, "duration_min": 1},
            reporter="device",
            key=None,
            now=now,
        )
        outcomes = await settle(database, [ride], rulebook=rulebook, now=now, secret=SECRET)
        assert outcomes[ride].action.energy_g
    draft = RULES.replace("maximum: 1440, unit: min", "maximum: 24, unit: h")
    report = await tried(draft, url=url, start=START + timedelta(hours=1))
    assert report["refused"] == [{"reason": "overlap", "actions": 1, "energy_before_g": 30}]
    assert report["totals"]["energy_after_g"] == 0
    assert_same(await tried(RULES, url=url, start=START + timedelta(hours=1)))


async def test_clocks_that_differ_do_not_change_who_came_in_time(here, tried):
    """The budget ended by a process whose clock is ahead; who came later looks earlier."""
    database, url = here
    rulebook = await publish_text(database, RULES.replace("budget_g: 900", "budget_g: 100"), START)
    now = START + timedelta(days=4)

    async def bring_bottles(person, rulebook, at):
        bottles = participant_report(
            person,
            type_="recycling.bottle",
            occurred_at=now - timedelta(minutes=5),
            attributes={"count": 10},
            reporter="participant",
            key=None,
            now=now,
        )
        await settle(database, [bottles], rulebook=rulebook, now=at, secret=SECRET)

    *people, last = await town(database, 4)
    for person, late in zip(people, (0, 20, 10), strict=True):
        await bring_bottles(person, rulebook, now + timedelta(seconds=late))
    assert await paid(database) == 30 + 60 + 30 + 40 + 30
    report = await tried(RULES.replace("budget_g: 900", "budget_g: 100"), url=url)
    assert_same(report)

    # A budget that was changed meanwhile is known as it was at last: that much is said.
    more = RULES.replace("budget_g: 900", "budget_g: 300")
    assert_same(same := await tried(more, url=url, as_recorded=True))
    assert same["rebudgeted"] == []
    assert "was changed" not in " ".join(same["notes"])
    rulebook = await publish_text(database, more, now + timedelta(minutes=1))
    await bring_bottles(last, rulebook, now + timedelta(minutes=2))
    report = await tried(more, url=url, as_recorded=True)
    assert report["totals"]["energy_after_g"] == report["totals"]["energy_before_g"] + 20 + 60
    assert report["rebudgeted"] == ["boxes"]
    assert report["notes"][-1].startswith("The budget of boxes was changed in this period")
    assert len((await tried(more, url=url))["notes"]) == 1


async def test_versions_one_after_the_other_are_checked_by_their_own_rules(here, tried):
    database, url = here
    people = await town(database)
    rulebook = await publish_text(database, RULES, START)
    await live(database, rulebook, people, days=range(4))
    later = RULES.replace("grams: 296", "grams: 150").replace("earns: 37\n", "earns: 40\n")
    later = later.replace("expect: {earns: 37}", "expect: {earns: 40}")
    later = later.replace("expect: {earns: 160}", "expect: {earns: 150}")
    rulebook = await publish_text(database, later, START + timedelta(days=4))
    await live(database, rulebook, people, days=range(4, 8))
    report = await tried(RULES, url=url, as_recorded=True)
    assert_same(report)
    assert [each["version"] for each in report["versions"]] == [1, 2]
    assert report["as_recorded"]
    under_one = await tried(RULES, url=url)
    assert under_one["changed_actions"]
    assert under_one["totals"]["energy_before_g"] == await paid(database)


async def contents(database):
    """A digest of every table."""
    tables = await database.pool.fetch(
        "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
    )
    return {
        name: await database.pool.fetchval(
            f"SELECT md5(string_agg(t::text || xmin, ',' ORDER BY t::text)) FROM {name} t"
        )
        for (name,) in tables
    }


async def test_nothing_is_written(lived, tried, settings):
    before = await contents(lived)
    assert before["actions"]
    draft = RULES.replace("budget_g: 900", "budget_g: 700")
    await tried(draft.replace("per: month, w", "per: ever, w"))
    assert await contents(lived) == before
    connection = await connect_to_read(settings.database_url)
    with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
        await connection.execute("DELETE FROM counters")
    await connection.close()


def printed(simulation):
    output = io.StringIO()
    print_simulation(Console(file=output, width=160), simulation, "The draft")
    return output.getvalue()


async def test_a_smaller_budget_holds_with_what_erased_people_drew(lived, tried):
    """What they drew late stays drawn: it comes off what all others find."""
    drawn_g = await lived.pool.fetchval("""
        SELECT sum((w ->> 'extra_g')::int) FROM actions, jsonb_array_elements(awards) AS w
        WHERE attributes IS NULL AND w ->> 'campaign' = 'boxes'""")
    assert drawn_g > 0
    for budget_g in (drawn_g, drawn_g + 40):
        report = await tried(RULES.replace("budget_g: 900", f"budget_g: {budget_g}"))
        (boxes,) = [each for each in report["campaigns"] if each["campaign"] == "boxes"]
        assert (boxes["budget_g"], boxes["extra_after_g"]) == (budget_g, budget_g)


async def test_a_lost_limit_is_seen(lived, simulated):
    draft = RULES.replace("limits: [{per: day, grams: 296}, {per: month, grams: 2000}]", "")
    found = await simulated(draft)
    text = printed(found)
    report = reported(found)
    (walk,) = [each for each in report["rules"] if each["rule"] == "walk"]
    assert walk["energy_after_g"] > walk["energy_before_g"] * 1.05
    assert walk["saved_after_g"] == walk["saved_before_g"]
    (lost,) = [each for each in report["limits"] if each["limited_by"] == "296 g per day"]
    cut, still = lost["cut_before"], lost["cut_after"]
    # What was erased is carried over with its cuts.
    assert cut > 50
    assert still < cut / 5
    assert re.search(rf"walk +296 g per day +{cut:,} +{still:,} +-{cut - still:,}", text)
    assert report["people"]["gain"] >= 5
    assert f"{report['people']['gain']:,} gain, " in text
    changes = report["largest_changes"]
    assert 5 <= len(changes) <= 10
    sizes = [abs(each["energy_after_g"] - each["energy_before_g"]) for each in changes]
    assert sizes == sorted(sizes, reverse=True)
    assert str(changes[0]["participant_id"]) in text
    for day in report["days"]:
        assert f"{day['day']} " in text
    assert "were refused then are not stored" in text


async def test_a_factor_whose_unit_slipped_is_seen(lived, simulated):
    """Kilograms instead of grams: what people earn is the same, what is saved almost vanishes."""
    draft = RULES.replace("value: 100.95", "value: 0.10095")
    found = await simulated(draft)
    totals = reported(found)["totals"]
    assert totals["energy_before_g"] == totals["energy_after_g"]
    assert 0 < totals["saved_after_g"] < totals["saved_before_g"] / 20
    assert re.search(r"saved CO2e .* -9\d\.\d%", printed(found))


async def test_a_rule_that_begins_to_fail_is_seen(lived, simulated):
    """Milligrams instead of grams: more than an action can save, so nothing is paid."""
    found = await simulated(RULES.replace("value: 100.95", "value: 10095000"))
    failed = reported(found)["failed"]
    assert failed["awards_before"] == 0
    assert failed["awards_after"] > 50
    told = f"fails and pays nothing: 0 before, {failed['awards_after']:,} after"
    assert told in printed(found)


async def test_what_the_draft_refuses_is_told(lived, tried):
    draft = RULES.replace("duration_min / 60) <= 45", "duration_min / 60) <= 10").replace(
        "reported_by: [participant, device]", "reported_by: [device]", 1
    )
    report = await tried(draft)
    refused = {each["reason"]: each for each in report["refused"]}
    assert set(refused) == {"implausible", "reporter-not-allowed"}
    assert refused["implausible"]["actions"] > 10
    assert refused["implausible"]["energy_before_g"] > 100
    assert report["people"]["lose"] > 0


async def test_the_command_reports_for_people_and_for_programs(lived, settings, tmp_path):
    folder = tmp_path / "draft"
    folder.mkdir()
    (folder / "rules.yaml").write_text(RULES)
    period = ("--from", "2026-11-04", "--to", "2026-11-07T00:00:00+08:00")
    command = ("rules", "simulate", str(folder), *period)
    code, text, errors = await saxaul(settings, *command, "--processes", "1")
    assert (code, errors) == (0, "")
    assert "from 2026-11-04 until 2026-11-07" in text
    code, text, errors = await saxaul(settings, *command, "--format", "json")
    assert (code, errors) == (0, "")
    report = msgspec.json.decode(text)
    assert report["changed_actions"] == 0
    assert report["actions"] > 50
    assert [day["day"] for day in report["days"]] == ["2026-11-04", "2026-11-05", "2026-11-06"]
    active = ("rules", "simulate", "active", *period, "--format", "json", "--processes", "1")
    _, text, _ = await saxaul(settings, *active)
    assert msgspec.json.decode(text) == report
    (folder / "rules.yaml").write_text(RULES.replace("earns: steps", "earns: stepps"))
    code, text, _ = await saxaul(settings, *command)
    assert code == 1
    assert re.search(r"rules\.yaml:\d+:12: error: .*steps", text)


async def test_the_command_says_what_it_cannot_do(lived, settings):
    wrong = ("--from", "2026-11-07", "--to", "2026-11-07")
    code, _, errors = await saxaul(settings, "rules", "simulate", "active", *wrong)
    assert code == 2
    assert "--to must be after from" in errors
    code, _, errors = await saxaul(settings, "rules", "simulate", "nowhere")
    assert (code, "neither a folder nor a version" in errors) == (2, True)


# Another draft each.
DRAFTS = {
    "other limits": (("grams: 296", "grams: 100"), ("count: 2, by: shoe", "count: 1, by: shoe")),
    "other awards": (("steps * 0.02", "steps * 0.05"), ("count * 3", "count * 9")),
    "a larger budget": (("budget_g: 400", "budget_g: 500"),),
    "two budgets end": (("budget_g: 100000", "budget_g: 999"), ("times: 1.5", "times: 2.5")),
    "a campaign of later": (("2026-11-04, until: 2026-11-15", "2026-11-07, until: 2026-11-12"),),
    "another zone": (("Asia/Shanghai", "America/New_York"),),
}


# What rules refused is not there to be replayed, so claims last for ever, or in another zone
# another day would begin for them. Streaks are as they were.
BEFORE = re.sub("    examples:.*(\n      - .*)*\n", "", RULES.replace(": 900", ": 400"))
BEFORE = BEFORE.replace("per: month, within", "per: ever, within")
BEFORE = BEFORE.replace("7 + streak_days", "17")


@pytest.fixture(scope="module")
def town_under(servers, template_database):
    """A town under other rules, whose people do the same: its address, and what they were paid."""

    @asynccontextmanager
    async def made(rules):
        async with lent(servers, template_database) as url:
            database = await open_database(Settings(), url)
            rulebook = await publish_text(database, rules, START)
            people = await town(database)
            await live(database, rulebook, people, batches=30, size=1, days=range(2, 8))
            grams = await paid(database)
            await database.close()
            yield url, grams

    return made


@pytest.fixture(scope="module")
async def before(town_under):
    """The town of then, only read by the tests."""
    async with town_under(BEFORE) as lived_before:
        yield lived_before


def assert_changed(report, before_g, after_g):
    assert report["settled"]
    assert report["totals"]["energy_before_g"] == before_g
    assert report["totals"]["energy_after_g"] == after_g
    assert before_g != after_g


@pytest.mark.parametrize("name", DRAFTS)
async def test_a_draft_gives_what_it_would_have_paid(before, town_under, tried, name):
    """The same people do the same in two towns, under the rules of then and under the draft."""
    url, before_g = before
    draft = BEFORE
    for old, new in DRAFTS[name]:
        assert old in draft
        draft = draft.replace(old, new)
    async with town_under(draft) as (_, after_g):
        assert_changed(await tried(draft, url=url), before_g, after_g)


async def test_a_claim_for_ever_gives_what_it_would_have_paid(before, town_under, tried):
    _, after_g = before
    async with town_under(BEFORE.replace("per: ever, within", "per: day, within")) as (url, then_g):
        assert_changed(await tried(BEFORE, url=url), then_g, after_g)


TICKETS = """
program:
  name: Test city
  timezone: Asia/Shanghai
  energy: {ripens: {next_day_at: "07:00"}, expires_after: 72h}
action_types:
  transit.metro_trip:
    category: mobility
    reported_by: [partner]
    attributes:
      ticket_no: {type: string, max_length: 64}
    claim: {by: ticket_no, per: day, within: partner}
rules:
  - id: metro
    action: transit.metro_trip
    earns: 52
    examples: [{given: {ticket_no: A}, context: {verified: true}, expect: {earns: 52}}]
"""


async def test_a_ticket_is_told_apart_by_who_sold_it(here, simulated):
    database, url = here
    rulebook = await publish_text(database, TICKETS, START)
    (person,) = await town(database, 1)
    for n, (partner, ticket, day) in enumerate(
        [("one", "A", 0), ("two", "A", 0), ("one", "B", 0), ("one", "A", 2)]
    ):
        now = START + timedelta(days=day, hours=n)
        report = await ticket_report(database, person, partner, ticket, now)
        outcomes = await settle(database, [report], rulebook=rulebook, now=now, secret=SECRET)
        assert outcomes[report].action.energy_g == 52
    for_ever = reported(await simulated(TICKETS.replace("per: day", "per: ever"), url=url))
    # The second partner's ticket A is another one; only the first's is sold twice.
    assert for_ever["totals"]["energy_before_g"] == 4 * 52
    assert for_ever["totals"]["energy_after_g"] == 3 * 52


async def test_what_a_draft_lets_be_claimed_goes_to_whom_a_partner_verified(here, simulated):
    """Who is over the limit holds nothing; what somebody typed counts for whom it was verified."""
    database, url = here
    draft = TICKETS.replace("[partner]", "[participant, partner]").replace(
        "    earns: 52", "    earns: 52\n    limits: [{per: day, count: 1}]"
    )
    draft = draft.replace("per: day, within: partner", "per: ever")
    then = draft.replace("    claim: {by: ticket_no, per: ever}\n", "")
    rulebook = await publish_text(database, then, START)
    people = await town(database, 4)
    told = [(0, "T", 52), (1, "U", 52), (1, "V", 0), (2, "V", 52), (3, "T", 52), (0, "T", 0)]
    for n, (who, ticket, energy_g) in enumerate(told):
        now = START + timedelta(hours=n)
        if who == 3:
            report = await ticket_report(database, people[who], "one", ticket, now)
        else:
            report = participant_report(
                people[who],
                type_="transit.metro_trip",
                occurred_at=now,
                attributes={"ticket_no": ticket},
                reporter="participant",
                key=None,
                now=now,
            )
        outcomes = await settle(database, [report], rulebook=rulebook, now=now, secret=SECRET)
        assert outcomes[report].action.energy_g == energy_g
    claimed = reported(await simulated(draft, url=url))
    assert claimed["totals"]["energy_before_g"] == 4 * 52
    assert claimed["totals"]["energy_after_g"] == 3 * 52
    assert [(r["reason"], r["actions"]) for r in claimed["refused"]] == [("already-claimed", 2)]


async def ticket_report(database, person, partner, ticket, now):
    """What a partner tells of a ticket, of somebody who is linked to it."""
    subject_key = f"{partner:-<32}".encode()
    await database.pool.execute(
        "INSERT INTO links VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING",
        partner,
        subject_key,
        person,
        now,
    )
    event_id = f"{ticket}-{now:%d%H}"
    key = f"{partner}{event_id:->16}"[-16:].encode()
    return partner_report(
        person,
        EventRef(key, partner, f"urn:{partner}", event_id, subject_key),
        type_="transit.metro_trip",
        occurred_at=now - timedelta(minutes=30),
        attributes={"ticket_no": ticket},
        fingerprint=bytes(16),
    )


async def test_a_line_that_breaks_under_it_is_no_fault_of_ours(lived, settings, lossy_proxy):
    draft = compile_rulebook_or_raise({"rules.yaml": RULES})
    trial = Trial(draft, {"rules.yaml": RULES}, Period(START, END))
    async with lossy_proxy(settings.database_url) as proxy:
        proxy.cut_answer_of(b"WITH page AS")
        with pytest.raises(UnavailableError):
            await simulate(proxy.url, trial, secret=settings.secret_key.encode(), processes=1)
        assert proxy.cuts == 1
