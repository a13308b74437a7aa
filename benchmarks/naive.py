"""How much faster is an action recorded than in the usual way?

    python -m benchmarks.naive [--seconds 3] [--rounds 5] [--connections 64] [--people 1024]

In turns with ours the same client sends the same actions to a service that records them the usual
way (`benchmarks/peers/usual.py`: one ORM session and one transaction a request) on the same kind of
server, with a database of its own on the same PostgreSQL.
"""

from argparse import Namespace

from benchmarks.instance import Instance
from benchmarks.record import bearer, shares, tokens, walks
from benchmarks.turns import Turns
from benchmarks.usual import beside_usual, named, usual_service


async def measure(instance: Instance, args: Namespace) -> Turns:
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
    beside_usual(__doc__, measure, ["usual"], [("record", "usual", 8.0)])


if __name__ == "__main__":
    main()
