"""Any number of people with a past, in seconds: a few live it through the API, SQL copies them.

Everything that a person leaves in the database is copied as it stands, under another name; only the
chains of hashes are computed anew, by the formula of the audit. So the audit finds nothing, and a
past is whatever the programme makes of it today.
"""

import asyncio
import itertools
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID, uuid4

import asyncpg
import httpx

from benchmarks.instance import Instance, clock_of
from benchmarks.turns import progress
from service.development.issuer import issuer_of
from service.participants.identities import generated_alias, subject_key
from service.tables import metadata

Past = tuple[int, int]
"""Days of one walk, each collected on the day after; and walks of the last day, which wait ripe."""

_WEDNESDAY = 2  # The week of the boards has begun, wherever the programme is.
_STEPS = 14_800  # What a day of walking pays at most.
_CHUNK = 5_000


@dataclass(frozen=True, slots=True)
class _Life:
    """Somebody who does things through the API, a few steps less than the one before."""

    client: httpx.AsyncClient
    participant_id: UUID
    token: str
    number: int

    async def walk(self, times: int) -> None:
        """Report so many walks, which together pay what a day can pay, or somewhat less."""
        now = await clock_of(self.client)
        steps = _STEPS // times - 20 * self.number
        for walk in range(times):
            at = (now - timedelta(minutes=5 * walk + 5)).isoformat()
            body = {"type": "mobility.walk", "occurred_at": at, "reporter": "device"}
            attributes = {"steps": steps, "distance_km": round(steps * 0.0007, 2)}
            await self._post("/v1/me/actions", body | {"attributes": attributes})

    async def collect(self) -> None:
        """Collect all that is ripe."""
        await self._post("/v1/me/bubbles/collect", {})

    async def _post(self, path: str, body: dict[str, object]) -> None:
        headers = {"Authorization": f"Bearer {self.token}"}
        (await self.client.post(path, json=body, headers=headers)).raise_for_status()


async def live(instance: Instance, pasts: Sequence[Past], each: int = 16) -> list[list[UUID]]:
    """So many people for each of these pasts, who live them all at once: the clock goes along."""
    last = max(days for days, _ in pasts)
    async with instance.client() as client:
        now = await clock_of(client)
        first = now.date() + timedelta(days=(_WEDNESDAY - now.weekday() - last) % 7 or 7)
        lives = [[await _begin(client, n, m) for m in range(each)] for n in range(len(pasts))]
        for day in range(last + 2):
            order = {"now": f"{first + timedelta(days=day)}T01:00:00Z"}
            (await client.post("/v1/dev/clock", json=order)).raise_for_status()
            for (days, ripe), some in zip(pasts, lives, strict=True):
                walks = ripe if day == last else int(last - days <= day < last)
                for life in some:
                    if days and 0 < day <= last:
                        await life.collect()
                    if walks:
                        await life.walk(walks)
    return [[life.participant_id for life in some] for some in lives]


async def _begin(client: httpx.AsyncClient, past: int, number: int) -> _Life:
    order = {"subject": f"template-{past}-{number}", "role": "participant"}
    told = (await client.post("/v1/dev/token", json=order)).raise_for_status().json()
    return _Life(client, UUID(told["participant_id"]), told["access_token"], number)


async def settle(instance: Instance, groups: dict[str, tuple[Sequence[UUID], int]]) -> None:
    """Copy so many people of these lives, under the subjects NAME-0, NAME-1.

    They come in the order of their ids, so that indexes are written at one end; but of all people
    of a chunk first what was first, so that a person's rows lie apart, as they do where people live
    side by side. All triggers, checks and indexes are there.
    """
    people = [
        (uuid4(), life, f"{name}-{number}")
        for name, (lives, count) in groups.items()
        for number, life in zip(range(count), itertools.cycle(lives))
    ]
    people.sort()
    lives = [life for some, _ in groups.values() for life in some]
    secret, issuer = instance.settings.secret_key, issuer_of("participant")
    # What was found clean is so in copies, too: an audit of what moved since passes it over.
    await asyncio.to_thread(instance.audit)
    chunks = iter([people[first : first + _CHUNK] for first in range(0, len(people), _CHUNK)])
    settled = 0

    async def copy_chunks() -> None:
        nonlocal settled
        async with instance.database() as connection:
            await _prepare(connection, lives)
            for chunk in chunks:
                await _copy(
                    connection,
                    [
                        (person, life, subject_key(secret, issuer, subject), generated_alias())
                        for person, life, subject in chunk
                    ],
                )
                settled += len(chunk)
                progress.log(f"{settled:,} people")

    await asyncio.gather(*(copy_chunks() for _ in range(os.cpu_count() or 1)))
    async with instance.database() as connection:
        await connection.execute("VACUUM ANALYZE")
    progress.log("vacuumed")
    await asyncio.to_thread(instance.require, "leaderboards", "rebuild")
    progress.log("boards built")


async def _prepare(connection: asyncpg.Connection, lives: Sequence[UUID]) -> None:
    await connection.execute(_NEWCOMERS)
    for table in (*_COPIED, *_CHAINED):
        await connection.execute(f"CREATE TEMPORARY TABLE life_{table} (LIKE {table})")
        text = f"INSERT INTO life_{table} SELECT * FROM {table} WHERE participant_id = ANY($1)"
        await connection.execute(f"{text} ORDER BY ctid", lives)
    await connection.execute("ANALYZE")


async def _copy(connection: asyncpg.Connection, rows: Sequence[tuple[object, ...]]) -> None:
    async with connection.transaction():
        await connection.execute("TRUNCATE newcomers")
        await connection.copy_records_to_table("newcomers", records=rows)
        for table, own in _COPIED.items():
            await connection.execute(_copy_text(table, own, _THEIRS))
        transfers, books = (_copy_text(table, own, _LINKS) for table, own in _CHAINED.items())
        await connection.execute(f"{_CHAIN}, written AS ({transfers}) {books}")


def _copy_text(table: str, own: dict[str, str], of_whom: str) -> str:
    names = [column.name for column in metadata.tables[table].columns]
    values = ", ".join(own.get(name, f"t.{name}") for name in names)
    return f"""INSERT INTO {table} ({", ".join(names)})
    SELECT {values} FROM life_{table} t {of_whom}"""


_NEWCOMERS = """
CREATE TEMPORARY TABLE newcomers (
    participant_id uuid, life uuid NOT NULL, subject_key bytea, display_name text);
CREATE INDEX ON newcomers (life)"""

_COPIED = {
    "identities": {"participant_id": "n.participant_id", "subject_key": "n.subject_key"},
    "participants": {"participant_id": "n.participant_id", "display_name": "n.display_name"},
    "actions": {"participant_id": "n.participant_id"},
    "bubbles": {"participant_id": "n.participant_id"},
    "counters": {"participant_id": "n.participant_id"},
}
_CHAINED = {
    "transfers": {"participant_id": "n.participant_id", "hash": "n.hash"},
    "books": {"participant_id": "n.participant_id", "head": "n.hash"},
}

# One row of a life after the other, each for all who have it.
_THEIRS = """
CROSS JOIN LATERAL (SELECT * FROM newcomers WHERE life = t.participant_id OFFSET 0) AS n"""

# Books end where their chains do.
_LINKS = "JOIN chain n ON n.life = t.participant_id AND n.seq = t.seq"

_CHAIN = """
WITH RECURSIVE chain AS (
    SELECT participant_id, life, 0::bigint AS seq,
        sha256('saxaul book '::bytea || uuid_send(participant_id)) AS hash
    FROM newcomers
    UNION ALL
    SELECT c.participant_id, c.life, t.seq,
        sha256(c.hash || uuid_send(c.participant_id) || int8send(t.seq)
            || int2send(t.debit) || int2send(t.credit) || int8send(t.amount_g)
            || uuid_send(t.cause_id) || decode(repeat('00', 16), 'hex')
            || int8send((extract(epoch FROM t.at) * 1000000)::bigint)
            || convert_to(t.cause, 'UTF8') || decode('00', 'hex')
            || coalesce(a.facts_digest, ''::bytea))
    FROM chain c
    JOIN life_transfers t ON t.participant_id = c.life AND t.seq = c.seq + 1
    LEFT JOIN life_actions a ON a.participant_id = t.participant_id AND a.id = t.cause_id
        AND t.cause = 'action'
)"""
