"""The usual service beside ours: a database of its own on the same PostgreSQL, a server alike."""

import contextlib
from argparse import Namespace
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from urllib.parse import urlsplit, urlunsplit
from uuid import UUID, uuid4

import uvloop
from sqlalchemy import insert
from sqlalchemy.ext.asyncio import create_async_engine

from benchmarks.instance import Instance, running, served
from benchmarks.options import options
from benchmarks.peers.usual import Account, Base, Stock
from benchmarks.turns import Turns, compared, conclude
from service.instance.servers import servers
from service.platform.database import sqlalchemy_url

_GRAMS, _TREES = 1_000_000, 1_000_000_000


@contextlib.asynccontextmanager
async def usual_service(
    instance: Instance, people: int, projects: Sequence[UUID] = ()
) -> AsyncIterator[tuple[int, list[str]]]:
    """Its port, and the ids of so many people who can pay for trees of these projects."""
    async with servers(instance.settings, "benchmark") as found, instance.database() as connection:
        await connection.execute("CREATE DATABASE usual")
        url = sqlalchemy_url(urlunsplit(urlsplit(found.database_url)._replace(path="/usual")))
    engine = create_async_engine(url)
    ids = [uuid4() for _ in range(people)]
    account = {"ripening_g": 0, "available_g": _GRAMS, "pledged_g": 0}
    async with engine.begin() as made:
        await made.run_sync(Base.metadata.create_all)
        await made.execute(insert(Account), [{"person_id": each, **account} for each in ids])
        stock = [{"project_id": each, "price_g": 1, "trees_left": _TREES} for each in projects]
        if stock:
            await made.execute(insert(Stock), stock)
    await engine.dispose()
    with served("benchmarks.peers.usual:app", USUAL_DATABASE_URL=url) as port:
        yield port, [str(each) for each in ids]


def named(person: str) -> tuple[str, str]:
    """Who asks the usual service, which is spared tokens."""
    return ("X-Person", person)


def beside_usual(
    docstring: str | None,
    measure: Callable[[Instance, Namespace], Awaitable[Turns]],
    bases: Sequence[str],
    aims: Sequence[tuple[str, str, float]],
) -> None:
    """Measure and print, beside these; each aim says what a rate should come to of another one."""
    args = options(docstring, seconds=3.0, rounds=5, connections=64, people=1_024)
    with running() as instance:

        async def run() -> Turns:
            return await measure(instance, args)

        turns = uvloop.run(run())
        goals = [turns.goal(name, to, least=least) for name, to, least in aims]
        conclude(instance, [turns], compared(turns, *bases), goals=goals)
