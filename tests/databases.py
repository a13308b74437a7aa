"""Databases of tests: cloned from the template once, then lent again and again without rows.

A clone costs a fifth of a second of a processor, to delete the rows a hundredth. Who changed more
than rows (a table, a trigger, the version of the migrations) was the last to have that database.
"""

import uuid
from contextlib import asynccontextmanager
from urllib.parse import urlsplit, urlunsplit

import asyncpg

# Of this process; the servers end with the run, and the databases with them.
_free = []


@asynccontextmanager
async def lent(servers, template):
    """A migrated database without a row, for as long as the block runs."""
    url, shape = _free.pop() if _free else await _clone_with_shape(servers, template)
    yield url
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(_ALONE)
        is_kept = await connection.fetchval(_SHAPE) == shape
        if is_kept:
            await connection.execute(_EMPTY)
    finally:
        await connection.close()
    if is_kept:
        _free.append((url, shape))
    else:
        await drop(servers, url)


@asynccontextmanager
async def cloned(servers, template):
    """A database that is nobody else's, before or after."""
    url = await _clone(servers, template)
    yield url
    await drop(servers, url)


async def _clone_with_shape(servers, template):
    url = await _clone(servers, template)
    connection = await asyncpg.connect(url)
    try:
        return url, await connection.fetchval(_SHAPE)
    finally:
        await connection.close()


async def _clone(servers, template):
    name = f"t_{uuid.uuid4().hex}"
    await execute(
        servers.database_url, f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY FILE_COPY"
    )
    return with_database(servers.database_url, name)


async def drop(servers, url):
    """Drop a database, whoever is connected to it."""
    name = urlsplit(url).path.lstrip("/")
    await execute(servers.database_url, f"DROP DATABASE {name} WITH (FORCE)")


async def execute(url, statement):
    """Run one statement on a connection of its own."""
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


def with_database(url, name):
    """The address of another database of the same server."""
    return urlunsplit(urlsplit(url)._replace(path=f"/{name}"))


_ALONE = """
SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity
WHERE datname = current_database() AND backend_type = 'client backend'
    AND pid <> pg_backend_pid()"""

_SHAPE = """
SELECT md5(string_agg(part, ' ' ORDER BY part)) FROM (
    SELECT concat_ws('.', oid, relname, relnatts, relchecks) FROM pg_class
    WHERE relnamespace = 'public'::regnamespace
    UNION ALL SELECT concat_ws('.', oid, tgname, tgenabled) FROM pg_trigger
    UNION ALL SELECT concat_ws('.', oid, proname) FROM pg_proc
    WHERE pronamespace = 'public'::regnamespace
    UNION ALL SELECT concat_ws('.', oid, nspname) FROM pg_namespace WHERE nspname !~ '^pg_'
    UNION ALL SELECT version_num FROM alembic_version
) AS parts (part)"""

# Rows that nobody may delete go as well: triggers do not fire for a replica.
_EMPTY = """
DO $$
DECLARE
    held record;
BEGIN
    SET LOCAL session_replication_role = replica;
    FOR held IN
        SELECT oid::regclass AS name, pg_relation_size(oid) > 1000000 AS is_large FROM pg_class
        WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'
            AND relname <> 'alembic_version' AND pg_relation_size(oid) > 0
    LOOP
        IF held.is_large THEN
            EXECUTE format('TRUNCATE %s', held.name);
        ELSE
            EXECUTE format('DELETE FROM %s', held.name);
        END IF;
    END LOOP;
    PERFORM setval(oid::regclass, 1, false) FROM pg_class
    WHERE relnamespace = 'public'::regnamespace AND relkind = 'S';
END $$"""
