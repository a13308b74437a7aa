"""How fast are trees pledged: of one project that everybody wants, and of a hundred?

    python -m benchmarks.redeem [--seconds 3] [--rounds 5] [--connections 64] [--people 1024]

Beside pledges the same client sends, in turns: actions to record; and the same pledges to a service
that does it the usual way (`benchmarks/peers/usual.py`: one ORM session and one transaction a
request) on the same kind of server, with a database of its own on the same PostgreSQL.
"""

import json
from argparse import Namespace
from collections.abc import Sequence
from uuid import UUID

from benchmarks.instance import Instance, clock_of
from benchmarks.load import Source, post_request
from benchmarks.people import live, settle
from benchmarks.record import HEADER, Who, bearer, keyed, shares, walks
from benchmarks.turns import Turns
from benchmarks.usual import beside_usual, named, usual_service

PAST = (2, 0)
"""Two days of walking, collected: about 500 g, which are as many trees."""
PROJECTS = 100
_CHOICES = 7


async def make_projects(instance: Instance) -> list[UUID]:
    """So many projects that sell trees at a gram, and will not be sold out."""
    [operator] = instance.tokens(["bench-operator"], "operator")
    facts = {"species": "Haloxylon ammodendron", "place": "Alxa", "country": "CN", "price_g": 1}
    facts |= {"capacity": 1_000_000_000, "partner": "Bench"}
    made = []
    async with instance.client() as client:
        client.headers["Authorization"] = f"Bearer {operator}"
        for number in range(PROJECTS):
            order = {"name": f"bench-{number}", **facts}
            answer = await client.post("/v1/operator/projects", json=order)
            made.append(UUID(answer.raise_for_status().json()["id"]))
    return made


def pledges(
    people: Sequence[Who], projects: Sequence[UUID], connections: int, stamp: int
) -> list[Source]:
    """On each connection people of its own, each with some of these projects in turn."""
    bodies = [json.dumps({"project_id": str(each), "trees": 1}).encode() for each in projects]
    return [
        keyed(
            [
                post_request(
                    "/v1/me/pledges", bodies[(13 * n + 17 * k) % len(bodies)], [who, HEADER]
                )
                for k in range(min(_CHOICES, len(bodies)))
                for n, who in enumerate(mine)
            ],
            stamp + number,
        )
        for number, mine in enumerate(shares(people, connections))
    ]


async def measure(instance: Instance, args: Namespace) -> Turns:
    """All in turns."""
    [lives] = await live(instance, [PAST])
    await settle(instance, {"bench": (lives, args.people)})
    tokens = instance.tokens([f"bench-{number}" for number in range(args.people)])
    ours = [*map(bearer, tokens)]
    projects = await make_projects(instance)
    async with instance.client() as client:
        now = await clock_of(client)
    connections, turns = args.connections, Turns(f"Pledging trees, {args.connections} connections")
    async with usual_service(instance, args.people, projects) as (usual, ids):
        theirs, shared = [*map(named, ids)], shares(ours, connections)
        loads = {
            "record": (instance.port, [walks(mine, n, now) for n, mine in enumerate(shared)]),
            "one project": (instance.port, pledges(ours, projects[:1], connections, 1_000)),
            "a hundred": (instance.port, pledges(ours, projects, connections, 2_000)),
            "usual, one project": (usual, pledges(theirs, projects[:1], connections, 3_000)),
            "usual, a hundred": (usual, pledges(theirs, projects, connections, 4_000)),
        }
        await turns.take(loads, args.rounds, args.seconds)
    return turns


def main() -> None:
    """Measure and print."""
    kinds = ("one project", "a hundred")
    aims = [(kind, "record", 0.5) for kind in kinds]
    aims += [(kind, f"usual, {kind}", 8.0) for kind in kinds]
    beside_usual(__doc__, measure, ["record", *(f"usual, {kind}" for kind in kinds)], aims)


if __name__ == "__main__":
    main()
