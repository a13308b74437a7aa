"""How much faster is an action recorded than in the usual way?

    python -m benchmarks.naive [--seconds 3] [--rounds 5] [--connections 64] [--people 1024]

In turns with ours the same client sends the same actions to a service that records them the usual
way (`benchmarks/peers/usual.py`: one ORM session and one transaction a request) on the same kind of
server, with a database of its own on the same PostgreSQL.
"""

import argparse

import uvloop

from benchmarks.instance import Instance, running
from benchmarks.record import bearer, shares, tokens, walks
from benchmarks.turns import Turns, compared, conclude
from benchmarks.usual import named, usual_service


async def measure(instance: Instance, args: argparse.Namespace) -> Turns:
    """Both in turns."""
    connections, turns = args.connections, Turns(f"Recording, {args.connections} connections")
    ours = [*map(bearer, await tokens(instance.port, args.people))]
    async with usual_service(instance, args.people) as (usual, ids):
        loads = {
            name: (port, [walks(mine, n) for n, mine in enumerate(shares(people, connections))])
            for name, port, people in (
                ("usual", usual, [*map(named, ids)]),
                ("record", instance.port, ours),
            )
        }
        await turns.take(loads, args.rounds, args.seconds)
    return turns


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--people", type=int, default=1_024)
    args = parser.parse_args()
    with running() as instance:
        turns = uvloop.run(measure(instance, args))
        conclude(instance, [turns], compared(turns, "usual"))


if __name__ == "__main__":
    main()
