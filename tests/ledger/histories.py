"""People and their histories, made by the ledger's own functions: what the tests then audit."""

import hmac
import secrets
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from uuid import uuid4

from service.actions.claims import hold_claims
from service.actions.facts import canonical_facts, facts_digest
from service.actions.store import Action, actions_write, counters_write
from service.energy.bubbles import new_bubbles_write
from service.ledger.accounts import Account
from service.ledger.books import book_writes, lock_book, make_book, post
from service.platform.acts import Act
from service.platform.database import write_all
from service.platform.ids import uuid7
from service.rules.compile.draft import sha256_of
from service.rules.decide.rulebook import CounterKey, Used
from tests import orders
from tests.rules.sets import shipped_rulebook

RULEBOOK = shipped_rulebook()
START = datetime(2026, 11, 21, 2, 0, tzinfo=UTC)
RULES = {"test.yaml": "what these awards rest on"}
RIPENS_AFTER = timedelta(hours=24)
EXPIRES_AFTER = timedelta(hours=72)


def by_operator(now):
    return Act("olga", "request-1", now)


def local_date(at):
    return at.date()


async def make_person(database, now=START, region=None):
    participant_id = uuid4()
    async with database.transaction() as connection:
        await connection.execute(
            "INSERT INTO identities (subject_key, participant_id, created_at) VALUES ($1, $2, $3)",
            secrets.token_bytes(32),
            participant_id,
            now,
        )
        await connection.execute(
            "INSERT INTO participants (participant_id, display_name, region, created_at)"
            " VALUES ($1, 'Somebody', $2, $3)",
            participant_id,
            region,
            now,
        )
        await make_book(connection, participant_id, secrets.token_bytes(16), now)
    return participant_id


async def publish_rules(database, now=START):
    """Version 1, by which all these awards were decided."""
    async with database.transaction() as connection:
        await connection.execute(
            "INSERT INTO rulebooks (version, sha256, files, author, note, created_at)"
            " VALUES (1, $1, $2, 'olga', '', $3)",
            bytes.fromhex(sha256_of(RULES)),
            RULES,
            now,
        )
        await connection.execute("INSERT INTO active_rulebook (id, version) VALUES (1, 1)")


async def award(
    database,
    participant_id,
    energy_g,
    *,
    saved_g=0,
    now=START,
    counters=None,
    claim=None,
    attributes=None,
    draw_g=0,
    partner=None,
):
    """Record an action as the main job writes it; gives its id, which is its bubble's too.

    `draw_g` of its grams come from the budget of the campaign "double"; `partner` sent its event.
    """
    counters = counters or {("walk|day", now.date().isoformat(), ""): (1, energy_g)}
    async with database.transaction() as connection:
        book = await lock_book(connection, participant_id)
        book.require_open()
        region = await connection.fetchval(
            "SELECT coalesce(region, '') FROM participants WHERE participant_id = $1",
            participant_id,
        )
        usage = await connection.fetch(
            "SELECT counter, period, by_key, n, grams FROM counters WHERE participant_id = $1",
            participant_id,
        )
        used = {tuple(row[:3]): tuple(row[3:]) for row in usage}
        at = book.tick(now)
        book.action_seq += 1
        book.saved_g += saved_g
        action = _row(book, energy_g, saved_g, now=now, at=at, attributes=attributes)
        action.region = region
        action.awards[0]["counters"] = [[*key, n, g] for key, (n, g) in counters.items()]
        if claim is not None:
            action.claim_key = hmac.digest(b"key", claim.encode(), "sha256")
            wanted = {action.claim_key: (participant_id, action.id, None)}
            assert not await hold_claims(connection, wanted, at)
        if draw_g:
            action.awards[0] |= await _draw(connection, draw_g)
        if partner:
            await _bind_event(connection, action, partner)
        canonical = canonical_facts(action.type, now, action.reporter, action.attributes)
        action.facts_digest = facts_digest(book.salt, canonical, sha256_of(RULES), action)
        writes = [actions_write([action])]
        if energy_g:
            post(
                book,
                Account.ISSUANCE,
                Account.RIPENING,
                energy_g,
                cause="action",
                cause_id=action.id,
                at=at,
                facts_digest=action.facts_digest,
            )
            writes.append(new_bubbles_write([action]))
        totals = {
            (participant_id, CounterKey(*key)): Used(
                *map(sum, zip(used.get(key, (0, 0)), more, strict=True))
            )
            for key, more in counters.items()
        }
        await write_all(connection, [*writes, counters_write(totals), *book_writes([book])])
    return action.id


async def _draw(connection, draw_g):
    seq = await connection.fetchval(
        "UPDATE campaign_budgets SET left_g = left_g - $1, seq = seq + 1"
        " WHERE campaign = 'double' RETURNING seq",
        draw_g,
    )
    return {"campaign": "double", "extra_g": draw_g, "budget_seq": seq}


async def _bind_event(connection, action, partner):
    action.source, action.reporter, action.verified = f"partner:{partner}", "partner", True
    await connection.execute(
        "INSERT INTO partner_events (event_key, partner_id, source, event_id, fingerprint,"
        " participant_id, action_id, state, received_at)"
        " VALUES ($1, $2, $2, 'ride 1', $3, $4, $5, 'bound', $6)",
        secrets.token_bytes(16),
        partner,
        action.fingerprint,
        action.participant_id,
        action.id,
        action.recorded_at,
    )


def _row(book, energy_g, saved_g, *, now, at, attributes):
    given = {"rule": "walk", "saved_g": saved_g, "energy_g": energy_g, "limited_by": None}
    return Action(
        participant_id=book.participant_id,
        id=uuid7(now),
        seq=book.action_seq,
        kind="action",
        type="mobility.walk",
        occurred_at=now,
        ends_at=None,
        exclusive=False,
        recorded_at=at,
        ripens_at=at + RIPENS_AFTER if energy_g else None,
        expires_at=at + RIPENS_AFTER + EXPIRES_AFTER if energy_g else None,
        saved_g=saved_g,
        energy_g=energy_g,
        rulebook_version=1,
        streak_days=0,
        verified=False,
        source="participant",
        reporter="participant",
        region="",
        reverses=None,
        fingerprint=bytes(16),
        facts_digest=b"",
        claim_key=None,
        attributes=attributes or {"steps": 8000},
        awards=[given],
    )


async def collect(database, participant_id, bubble_id, now):
    async with database.transaction() as connection:
        return await orders.collect(
            connection, participant_id, bubble_id, rulebook=RULEBOOK, now=now
        )


async def collect_all(database, participant_id, now):
    async with database.transaction() as connection:
        return await orders.collect(connection, participant_id, rulebook=RULEBOOK, now=now)


async def expire(database, now):
    return await orders.expire(database, now)


async def reverse(database, participant_id, action_id, now):
    return await orders.reverse(database, participant_id, action_id, now=now)


async def adjust_by(database, participant_id, amount_g, now):
    async with database.transaction() as connection:
        return await orders.adjust(
            connection,
            participant_id,
            amount_g,
            reason="a gift",
            act=by_operator(now),
            rulebook=RULEBOOK,
        )


async def book_of(database, participant_id):
    row = await database.pool.fetchrow(
        "SELECT * FROM books WHERE participant_id = $1", participant_id
    )
    return SimpleNamespace(**dict(row))


async def bubble_of(database, participant_id, bubble_id):
    row = await database.pool.fetchrow(
        "SELECT * FROM bubbles WHERE participant_id = $1 AND id = $2", participant_id, bubble_id
    )
    return SimpleNamespace(**dict(row))
