"""What a column of a batch costs to send: the driver's binary arrays beside array literals.

python -m benchmarks.arrays      CPU time of this process, nanoseconds an element
"""

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
from rich.console import Console
from rich.table import Table

from service.instance.servers import servers
from service.platform import arrays
from service.platform.ids import uuid4
from service.platform.settings import load_settings

ELEMENTS, CALLS = 128, 400


async def cost_ns(connection: Any, sql: str, value: Callable[[], object]) -> float:
    """CPU nanoseconds an element, over and above a call without one."""
    spent = []
    for statement, argument in (("SELECT $1::text", lambda: "x"), (sql, value)):
        await connection.execute(statement, argument())
        began = time.process_time()
        for _ in range(CALLS):
            await connection.execute(statement, argument())
        spent.append(time.process_time() - began)
    return (spent[1] - spent[0]) / CALLS / ELEMENTS * 1e9


async def main() -> None:
    """Print both costs for each type of column."""
    start = datetime.now(UTC)
    columns: dict[str, tuple[list[Any], Callable[[list[Any]], str]]] = {
        "uuid": ([uuid4() for _ in range(ELEMENTS)], arrays.uuids),
        "bigint": (list(range(1000, 1000 + ELEMENTS)), arrays.scalars),
        "timestamptz": ([start + timedelta(hours=n % 3) for n in range(ELEMENTS)], arrays.times),
        "boolean": ([True] * ELEMENTS, arrays.scalars),
    }
    table = Table("type", "driver's array ns", "literal ns", "ratio")
    async with servers(load_settings(), "a benchmark") as found:
        connection = await asyncpg.connect(found.database_url)
        for name, (values, literal) in columns.items():
            sql = f"SELECT count(*) FROM unnest($1::{name}[])"
            binary = await cost_ns(connection, sql, lambda v=values: v)
            sql = f"SELECT count(*) FROM unnest($1::text::{name}[])"
            text = await cost_ns(connection, sql, lambda v=values, f=literal: f(v))
            table.add_row(name, f"{binary:,.0f}", f"{text:,.0f}", f"{text / binary:.2f}")
        await connection.close()
    Console().print(table)


if __name__ == "__main__":
    asyncio.run(main())
