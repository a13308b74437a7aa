"""What an earlier version digested stays clean, and is told: a partner's time with the offset that
was sent, a zero with the sign that was sent. What was changed since is found all the same.
"""

import hashlib
import hmac
import json
from datetime import timedelta, timezone
from itertools import product

import msgspec
import pytest
from msgspec.structs import replace

from service.audit.audit import audit
from service.audit.checks import COMPARES
from service.platform.acts import Act
from service.platform.canonical import FORM
from service.platform.database import open_database
from tests.callers import saxaul
from tests.ledger import histories
from tests.ledger.histories import START, award, make_person, publish_rules, reverse
from tests.people import settings_for

OFFSETS = [timedelta(hours=8), timedelta(hours=5, minutes=45), -timedelta(hours=15, minutes=59)]
DECIDED = (
    *("id", "seq", "kind", "recorded_at", "ends_at", "exclusive", "ripens_at", "expires_at"),
    *("saved_g", "energy_g", "rulebook_version", "streak_days", "verified", "source", "region"),
    *("reverses", "fingerprint", "claim_key", "awards"),
)
encode = msgspec.json.Encoder(order="sorted").encode


def earlier_facts(offset, form=b""):
    """How facts were digested when the time was what a partner had sent."""

    def digest(salt, _told, rules, action):
        zone = timezone(offset)
        action.ends_at = action.occurred_at + timedelta(minutes=12)
        sent = replace(
            action,
            occurred_at=action.occurred_at.astimezone(zone),
            ends_at=action.ends_at.astimezone(zone),
        )
        told = encode((sent.type, sent.occurred_at, sent.reporter, sent.attributes))
        decided = encode([getattr(sent, name) for name in DECIDED])
        return hmac.digest(salt, form + told + rules.encode() + decided, "sha256")

    return digest


async def earlier_act(database, at, detail, act="plot.make"):
    """Add an entry to the log as it was hashed before, with the detail as it was sent."""
    async with database.transaction() as connection:
        await connection.execute(
            "INSERT INTO audit_head (id, seq, hash) VALUES (1, 0, $1) ON CONFLICT DO NOTHING",
            bytes(32),
        )
        head = await connection.fetchrow("SELECT seq, hash FROM audit_head FOR UPDATE")
        entry = [head["seq"] + 1, at.timestamp(), "olga", act, "x", detail, "request-1"]
        digest = hashlib.sha256(head["hash"] + encode(entry)).digest()
        await connection.execute(
            "INSERT INTO audit_log (seq, at, actor, act, object, detail, request_id, hash)"
            " VALUES ($1, $2, 'olga', $3, 'x', $4, 'request-1', $5)",
            entry[0],
            at,
            act,
            detail,
            digest,
        )
        await connection.execute("UPDATE audit_head SET seq = $1, hash = $2", entry[0], digest)


@pytest.fixture
def settings(servers, fresh_database_url, tmp_path):
    return settings_for(servers, fresh_database_url, tmp_path)


@pytest.fixture
async def database(settings):
    opened = await open_database(settings, settings.database_url)
    yield opened
    await opened.close()


@pytest.fixture
async def filled(database, monkeypatch):
    """A person with actions of the earlier form, in UTC and with offsets, and one of today's."""
    await publish_rules(database)
    person = await make_person(database)
    with monkeypatch.context() as earlier:
        for offset in [timedelta(0), *OFFSETS, timedelta(0), *OFFSETS[:1]]:
            earlier.setattr(histories, "facts_digest", earlier_facts(offset))
            last = await award(database, person, 10)
    await award(database, person, 10)
    await reverse(database, person, last, START)
    return person


async def audited(database, **options):
    return await audit(database, mode="full", now=START, more=COMPARES, **options)


async def change(database, statement, *values):
    async with database.transaction() as connection:
        await connection.execute("SET LOCAL session_replication_role = replica")
        await connection.execute(statement, *values)


async def test_times_with_their_offset_are_noted_and_no_difference(database, filled):
    report = await audited(database)
    assert report.differences == []
    assert report.is_clean
    assert report.notes == {"facts": 4}
    alone = await audited(database, participant_id=filled)
    assert (alone.is_clean, alone.notes) == (True, {"facts": 4})


@pytest.mark.parametrize(("column", "rows"), [("occurred_at", 7), ("ends_at", 6)])
async def test_a_time_that_was_changed_is_found(database, filled, column, rows):
    """By whole hours, too: an offset writes the same instant otherwise."""
    statement = f"UPDATE actions SET {column} = {column} + interval '8 hours' WHERE seq = $1"
    for seq in range(1, 8):
        await change(database, statement, seq)
    report = await audited(database)
    assert report.found["facts"] == rows
    assert report.notes == {}


async def test_what_is_digested_today_is_digested_in_utc(database, monkeypatch):
    """The leniency is for rows of the earlier form alone."""
    await publish_rules(database)
    person = await make_person(database)
    monkeypatch.setattr(histories, "facts_digest", earlier_facts(OFFSETS[0], FORM))
    await award(database, person, 10)
    assert (await audited(database)).found == {"facts": 1}


ZEROS = [
    {"position": {"type": "Point", "coordinates": [36.8, -0.0]}, "area_m2": 900.0},
    {"position": {"type": "Point", "coordinates": [-0.0, 0.0, -0.0]}, "area_m2": 900.0},
    {
        "name": "-0.0, [0.0] ,0.0,",
        "position": {
            "type": "Polygon",
            "coordinates": [[[-0.0, 1.0], [-0.0, 0.0], [1.0, -0.0], [0.0, -0.0], [-0.0, 1.0]]],
        },
    },
    # More zeros than can be tried in all ways.
    {"coordinates": [[[n / 7, -0.0] for n in range(-30, 30)]]},
    {"coordinates": [[[n / 7, 0.0] for n in range(1, 30)] + [[-0.0, 0.0]]]},
]


@pytest.mark.parametrize("detail", ZEROS)
async def test_the_sign_of_a_zero_is_noted_and_no_difference(database, detail):
    await earlier_act(database, START, {"area_m2": 900.0, "height": 0.0})
    await earlier_act(database, START + timedelta(microseconds=1), detail)
    async with database.transaction() as connection:
        await Act("olga", "request-1", START).log(connection, "plot.make", "x", detail)
    # A process of the version before may go on beside this one for a while.
    await earlier_act(database, START, {"area_m2": 900.0})
    report = await audited(database)
    assert report.found.keys() <= {"told"}
    assert report.notes == {"log": 1}
    kept = "'{\"area_m2\": 901.0}'"
    for seq in range(1, 5):
        await change(database, f"UPDATE audit_log SET detail = {kept} WHERE seq = $1", seq)
    assert (await audited(database)).found["log"] == 4


async def test_every_sign_of_up_to_nine_zeros_fits(database):
    for signs in product([0.0, -0.0], repeat=9):
        await earlier_act(database, START, {"coordinates": [*signs]}, act="x")
    report = await audited(database)
    assert report.differences == []
    assert report.notes == {"log": 2**9 - 1}


async def test_the_command_tells_what_is_of_the_earlier_form(settings, database, filled):
    await earlier_act(database, START, {"coordinates": [36.8, -0.0]}, act="x")
    code, output, _ = await saxaul(settings, "ledger", "audit")
    assert code == 0, output
    words = " ".join(output.split())
    assert "4 digests of actions cover the time with the offset that its partner sent" in words
    assert "1 entries of the operators' log were hashed with a zero as -0.0" in words
    assert "clean: full audit" in words
    code, output, _ = await saxaul(settings, "ledger", "audit", "--format", "json")
    assert json.loads(output)["notes"] == {"facts": 4, "log": 1}
