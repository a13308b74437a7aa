"""Migrations and models make the same database; up, down and up again works; keys begin right."""

import asyncio
import re
from datetime import date

import asyncpg
import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy.ext.asyncio import create_async_engine

from service.instance import migrate as migrations
from service.instance.migrate import migrate, wanted_revision
from service.platform.database import sqlalchemy_url
from service.tables import metadata

# A person's tables begin every key with participant_id; these are found by a lookup of their own.
KEYED_BY_THEIR_LOOKUP = {
    "identities",
    "claims",
    "link_codes",
    "links",
    "partner_events",
    "tree_numbers",
}

COLUMNS = """
SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attidentity,
    a.attgenerated, pg_get_expr(d.adbin, d.adrelid)
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace AND n.nspname = 'public'
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
WHERE c.relkind IN ('r', 'p') AND c.relname <> 'alembic_version'
ORDER BY 1, 2"""

CONSTRAINTS = """
SELECT conrelid::regclass::text, conname, contype, pg_get_constraintdef(c.oid)
FROM pg_constraint c JOIN pg_namespace n ON n.oid = c.connamespace AND n.nspname = 'public'
WHERE conrelid <> 0 AND conrelid::regclass::text <> 'alembic_version'
ORDER BY 1, 2"""

INDEXES = """
SELECT tablename, indexname, indexdef FROM pg_indexes
WHERE schemaname = 'public' AND tablename <> 'alembic_version' ORDER BY 1, 2"""

STORAGE = """
SELECT c.relname, c.reloptions FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace AND n.nspname = 'public'
WHERE c.relkind IN ('r', 'p', 'i') AND c.relname NOT LIKE 'alembic_version%' ORDER BY 1"""

EVERYTHING = """
SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = 'public' AND c.relname NOT LIKE 'alembic_version%'
UNION ALL
SELECT p.proname FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
WHERE n.nspname = 'public'
UNION ALL
SELECT t.typname FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace
WHERE n.nspname = 'public' AND t.typtype IN ('e', 'd')"""

TRIGGERS = """
SELECT tgrelid::regclass::text, tgname, pg_get_triggerdef(oid) FROM pg_trigger
WHERE NOT tgisinternal ORDER BY 1, 2"""

CATALOGUES = {
    "columns": COLUMNS,
    "constraints": CONSTRAINTS,
    "indexes": INDEXES,
    "storage": STORAGE,
}


async def rows(url, statement):
    connection = await asyncpg.connect(url)
    try:
        return [tuple(row) for row in await connection.fetch(statement)]
    finally:
        await connection.close()


async def downgrade(url, revision):
    configuration = Config()
    configuration.set_main_option("script_location", str(migrations._FOLDER).replace("%", "%%"))
    configuration.attributes["database_url"] = url
    await asyncio.to_thread(command.downgrade, configuration, revision)


async def create_all(url):
    engine = create_async_engine(sqlalchemy_url(url))
    async with engine.begin() as connection:
        await connection.run_sync(metadata.create_all)
    await engine.dispose()


async def test_migrations_and_models_make_the_same(fresh_database_url, empty_database_url):
    await create_all(empty_database_url)
    for what, statement in CATALOGUES.items():
        migrated = await rows(fresh_database_url, statement)
        assert migrated
        assert migrated == await rows(empty_database_url, statement), what


async def test_up_down_and_up_again(empty_database_url):
    url = empty_database_url
    await migrate(url)
    first = [await rows(url, statement) for statement in (*CATALOGUES.values(), TRIGGERS)]
    await downgrade(url, "base")
    assert await rows(url, EVERYTHING) == []
    await migrate(url)
    again = [await rows(url, statement) for statement in (*CATALOGUES.values(), TRIGGERS)]
    assert again == first


async def test_migrating_twice_at_once_is_the_same_as_once(empty_database_url):
    await asyncio.gather(*(migrate(empty_database_url) for _ in range(3)))
    assert await rows(empty_database_url, "SELECT version_num FROM alembic_version") == [
        (wanted_revision(),)
    ]


async def test_a_migrated_database_is_left_as_it_is(fresh_database_url):
    before = await rows(fresh_database_url, COLUMNS)
    await migrate(fresh_database_url)
    assert await rows(fresh_database_url, COLUMNS) == before


async def test_names_and_seasons_of_before_are_carried(empty_database_url):
    """Names of then that are none now are made normal or give way; the same days stay open."""
    await migrate(empty_database_url, "0006")
    names = [
        "Ada",
        "  Ada  Lovelace ",
        "e\u0301",
        "x\u2066y",
        "\u200b",
        "ﷺ" * 64,
        "山田 太郎",
        "❤\ufe0f",
        "\u2800\u2800 \u2800",
        "\ufffc",
        "\u0301",
    ]
    connection = await asyncpg.connect(empty_database_url)
    try:
        await connection.executemany(
            "INSERT INTO participants (participant_id, display_name, created_at)"
            " VALUES (gen_random_uuid(), $1, '2026-11-21')",
            [(name,) for name in names],
        )
        await connection.execute(_PROJECT)
        await migrate(empty_database_url)
        now = {row[0] for row in await connection.fetch("SELECT display_name FROM participants")}
        assert {"Ada", "Ada Lovelace", "é", "山田 太郎", "❤"} <= now
        generated = now - {"Ada", "Ada Lovelace", "é", "山田 太郎", "❤"}
        assert len(now) == len(names)
        assert all(re.fullmatch(r"[A-Z][a-z]+ [A-Z][a-z]+ [0-9]{4}", name) for name in generated)
        season = await connection.fetchrow("SELECT season_from, season_until FROM projects")
        assert tuple(season) == (date(2026, 3, 1), date(2026, 6, 1))
    finally:
        await connection.close()


async def test_times_of_parked_events_are_carried_into_utc(empty_database_url):
    """What PostgreSQL does not read names the same instant in UTC; others stay as they are."""
    await migrate(empty_database_url, "0012")
    times = {
        "2026-11-21T23:26:25+23:59": "2026-11-20T23:27:25.000000Z",
        "2026-11-21T00:00:00.123456-16:30": "2026-11-21T16:30:00.123456Z",
        "2026-11-21T08:00:00+15:59": "2026-11-21T08:00:00+15:59",
        "2026-11-21T08:00:00Z": "2026-11-21T08:00:00Z",
    }
    connection = await asyncpg.connect(empty_database_url)
    try:
        await connection.execute(_PARTNER)
        for number, time in enumerate(times):
            await connection.execute(_PARKED, bytes([number]) * 16, time)
        await migrate(empty_database_url)
        kept = await connection.fetch(
            "SELECT body ->> 'time' FROM partner_events ORDER BY event_id"
        )
        assert [row[0] for row in kept] == [*times.values()]
    finally:
        await connection.close()


_PARTNER = """
INSERT INTO partners (id, name, source_prefix, action_types, disabled, created_at)
VALUES ('metro', 'Metro', 'urn:metro', '{}', false, '2026-11-21')"""

_PARKED = """
INSERT INTO partner_events (event_key, partner_id, source, event_id, state, fingerprint, reason,
    body, subject_key, received_at)
VALUES ($1, 'metro', 'urn:metro', encode($1, 'hex'), 'parked', $1, 'not-linked',
    jsonb_build_object('type', 'x', 'time', $2::text), $1 || $1, '2026-11-21')"""

_PROJECT = """
INSERT INTO projects (id, name, species, place, country, partner, price_g, capacity, season_from,
    season_until, created_at)
VALUES (gen_random_uuid(), 'n', 's', 'p', 'CN', 'p', 100, 10, '2026-03-01', '2026-05-31',
    '2026-11-21')"""


def unique_keys():
    """Every key that must be unique, as (table, columns)."""
    for table in metadata.tables.values():
        yield table, [column.name for column in table.primary_key]
        for index in table.indexes:
            if index.unique:
                yield table, [column.name for column in index.columns]
        for constraint in table.constraints:
            if type(constraint).__name__ == "UniqueConstraint":
                yield table, [column.name for column in constraint.columns]


def test_the_tables_of_a_person_begin_every_key_with_the_person():
    wrong = [
        (table.name, columns)
        for table, columns in unique_keys()
        if "participant_id" in table.columns
        and columns[0] != "participant_id"
        and table.name not in KEYED_BY_THEIR_LOOKUP
    ]
    assert wrong == []


def test_no_foreign_key_leads_from_one_person_to_another():
    for table in metadata.tables.values():
        for key in table.foreign_keys:
            assert "participant_id" not in key.column.table.columns, key
            assert "participant_id" not in table.columns, key


@pytest.mark.parametrize("table", ["transfers", "actions", "audit_log"])
async def test_what_only_grows_refuses_every_change(database_url, table):
    connection = await asyncpg.connect(database_url)
    try:
        columns = await connection.fetch(
            """SELECT column_name, data_type FROM information_schema.columns
            WHERE table_name = $1 AND is_nullable = 'NO'""",
            table,
        )
        values = {name: VALUES[kind] for name, kind in columns} | SPECIAL[table]
        names, texts = ", ".join(values), ", ".join(values.values())
        await connection.execute(f"INSERT INTO {table} ({names}) VALUES ({texts})")
        for statement in ("TRUNCATE {}", "DELETE FROM {}", "UPDATE {} SET seq = 5"):
            with pytest.raises(asyncpg.PostgresError, match=table):
                await connection.execute(statement.format(table))
        assert await connection.fetchval(f"SELECT count(*) FROM {table}") == 1
    finally:
        await connection.close()


VALUES = {
    "uuid": "'01980000-0000-7000-8000-000000000000'",
    "bigint": "1",
    "integer": "1",
    "smallint": "1",
    "boolean": "true",
    "text": "'a'",
    "bytea": "decode(repeat('00', 32), 'hex')",
    "jsonb": "'[]'",
    "timestamp with time zone": "'2026-11-21T08:00:00Z'",
}
SPECIAL = {
    "transfers": {"credit": "2"},
    "actions": {"kind": "'action'", "fingerprint": "decode(repeat('00', 16), 'hex')"},
    "audit_log": {},
}
