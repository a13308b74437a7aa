"""Demo data: a few people, a partner and two projects, so that a fresh instance is no empty page.

The partner's secret lies in the state folder, and knows Alice as demo-card-1.

Made once, through the same workflows as everything else. The projects come last and are the mark
that all is there: what was broken off before them is taken up again at the next start.
"""

import secrets
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from uuid import UUID

from service.actions.order import participant_report
from service.development.issuer import issuer_of
from service.energy.collect import CollectOrder
from service.http.decode import NoFields
from service.ledger.orders import Batch
from service.participants.edit_profile import edit_profile
from service.participants.identities import resolve_participant
from service.participants.links import link_subject, make_link_code
from service.partners.administer import keep_demo_partner
from service.partners.envelope import master_keys
from service.partners.events import Identifier
from service.partners.signature import read_secret, secret_text
from service.planting.projects import seed_projects
from service.platform.clock import Clock
from service.platform.database import Database, open_database
from service.platform.setting_texts import kept_text
from service.platform.settings import Settings, with_secret_key
from service.rulebooks.publish import Rulebooks
from service.rules.decide.rulebook import Rulebook

# What everybody walked two days ago: long enough ago to be ripe, not so long as to be lost.
WALKED_AGO = timedelta(days=2)

DEMO_PARTNER, DEMO_SUBJECT = "demo-metro", "demo-card-1"
DEMO_SOURCE = "urn:demo-metro"

_PEOPLE = (
    ("demo-alice", "CN-ZJ", 8_000, 5.6),
    ("demo-bo", "CN-ZJ", 12_400, 8.7),
    ("demo-chen", "CN-SH", 6_100, 4.2),
    ("demo-dana", "CN-SH", 15_200, 10.9),
    ("demo-emil", "CN-BJ", 3_300, 2.1),
    ("demo-fatima", "CN-BJ", 9_700, 6.8),
    ("demo-goro", "CN-GD", 11_050, 7.7),
    ("demo-hanna", "CN-GD", 4_800, 3.3),
)
_IS_MADE = "SELECT EXISTS (SELECT FROM projects WHERE name LIKE 'demo-%')"


async def seed_demo(settings: Settings, database_url: str) -> None:
    """Make the demo data unless they are there. Rules must have been published."""
    settings = with_secret_key(settings)
    database = await open_database(settings, database_url)
    try:
        if await database.pool.fetchval(_IS_MADE):
            return
        clock = Clock()
        async with database.pool.acquire() as connection:
            await clock.refresh(connection)
        now = clock.now()
        rulebooks = Rulebooks(database)
        await rulebooks.look()
        for subject, region, steps, distance_km in _PEOPLE:
            participant_id = await resolve_participant(
                database, settings.secret_key, issuer_of("participant"), subject, now - WALKED_AGO
            )
            async with database.transaction() as connection:
                await edit_profile(connection, participant_id, {"region": region})
            walk = {"steps": steps, "distance_km": distance_km}
            await _walk(database, settings, rulebooks.active, participant_id, walk=walk, now=now)
        await _make_partner(database, settings, clock)
        await seed_projects(database, now)
    finally:
        await database.close()


async def _walk(
    database: Database,
    settings: Settings,
    rulebook: Rulebook,
    participant_id: UUID,
    *,
    walk: dict[str, float],
    now: datetime,
) -> None:
    """Record a walk as of two days ago, and collect it."""
    then = now - WALKED_AGO
    report = participant_report(
        participant_id,
        type_="mobility.walk",
        occurred_at=then,
        attributes=walk,
        reporter="device",
        key="demo-walk-of-the-first-day",
        now=then,
    )
    # Refused is a walk that an operator's own rules do not know, or one that a start recorded which
    # was broken off; either way there is nothing to mend.
    batch = partial(Batch, rulebook, secret=settings.secret_key.encode(), lanes=settings.lanes)
    await batch(then).settle(database, [report], wait=True)
    collect = CollectOrder(participant_id, key=None, tell=lambda _: NoFields())
    await batch(now).settle(database, [collect], wait=True)


async def _make_partner(database: Database, settings: Settings, clock: Clock) -> None:
    """The partner, its key, and the link by which it tells of the first of the people."""
    secret = read_secret(demo_secret(settings))
    now, real_now = clock.now(), clock.real_now()
    async with database.transaction() as connection:
        partner = (DEMO_PARTNER, "Demo metro", DEMO_SOURCE, ["transit.metro_trip"], now)
        await keep_demo_partner(connection, partner, secret, master_keys(settings), real_now)
    identifier = Identifier(settings.secret_key)
    participant_id = await resolve_participant(
        database, settings.secret_key, issuer_of("participant"), _PEOPLE[0][0], now
    )
    async with database.transaction() as connection:
        code = await make_link_code(
            connection, participant_id, DEMO_PARTNER, identifier.code_key, real_now=real_now
        )
    subject = (DEMO_PARTNER, identifier.subject_key(DEMO_PARTNER, DEMO_SUBJECT))
    code_key = identifier.code_key(code.link_code)
    await link_subject(database, subject, code_key, now=now, real_now=real_now)


def demo_secret(settings: Settings) -> str:
    """The secret of the demo's partner, as partners get it; made at the first call."""
    return kept_text(demo_secret_path(settings), lambda: secret_text(secrets.token_bytes(32)))


def demo_secret_path(settings: Settings) -> Path:
    """Where that secret lies."""
    return settings.home / f"{DEMO_PARTNER}-secret"
