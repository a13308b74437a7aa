"""Each kind of order as the request that it comes as, and what it moves in a person's book."""

import uuid
from dataclasses import dataclass

from tests.callers import Caller, advance, sign_in
from tests.people import walk
from tests.planting.forestry import give, open_project

KINDS = ("record", "collect one", "collect all", "pledge", "cancel", "adjust", "reverse")
PRICE_G = 50
UNTIL_RIPE = {"hours": 32}


@dataclass(frozen=True)
class Asked:
    """A request: how it is answered, what it moves, and how it is answered again without a key."""

    path: str
    body: dict | None
    status: int
    moves: dict
    unkeyed: int
    by_operator: bool = False

    def send(self, caller, operator, key=None):
        return (operator if self.by_operator else caller).post(self.path, self.body, key=key)


@dataclass(frozen=True)
class Rich:
    """Somebody for whom an order of each kind has something to do."""

    caller: Caller
    bubbles: list
    pledge_id: str


async def make_rich(database, client, subjects, make=sign_in):
    """People with 50 g to spend, a pledged tree and two ripe bubbles of 60 and 80 g; the project
    of the tree.
    """
    project = await open_project(database, price_g=PRICE_G)
    people = []
    for subject in subjects:
        caller = await make(client, subject)
        await give(database, caller.participant_id, 2 * PRICE_G)
        bubbles = [(await caller.walks(steps))["bubble"]["id"] for steps in (3_000, 4_000)]
        body = {"project_id": str(project), "trees": 1}
        made = await caller.post("/v1/me/pledges", body, key=str(uuid.uuid4()))
        people.append(Rich(caller, bubbles, made.json()["id"]))
    await advance(client, **UNTIL_RIPE)
    return people, project


async def orders_of(client, rich, project):
    """An order of each kind for this person."""
    now = (await client.get("/v1/dev/clock")).json()["now"]
    walked = walk(occurred_at=now, attributes={"steps": 2_000, "distance_km": 1.4})
    tree = {"project_id": str(project), "trees": 1}
    gift = {"amount_g": 7, "reason": "a gift"}
    book = f"/v1/operator/participants/{rich.caller.participant_id}/adjustments"
    # Whose action it is need not be looked for, which would be a transaction of its own.
    tram = {"participant_id": str(rich.caller.participant_id), "reason": "a tram"}
    reverse = f"/v1/operator/actions/{rich.bubbles[0]}/reverse"
    one = f"/v1/me/bubbles/{rich.bubbles[0]}/collect"
    cancel = f"/v1/me/pledges/{rich.pledge_id}/cancel"
    return {
        "record": Asked("/v1/me/actions", walked, 201, {"ripening_g": 40}, 201),
        "collect one": Asked(one, None, 200, {"ripening_g": -60, "available_g": 60}, 409),
        "collect all": Asked(
            "/v1/me/bubbles/collect", None, 200, {"ripening_g": -140, "available_g": 140}, 200
        ),
        "pledge": Asked(
            "/v1/me/pledges", tree, 201, {"available_g": -PRICE_G, "pledged_g": PRICE_G}, 400
        ),
        "cancel": Asked(cancel, None, 200, {"available_g": PRICE_G, "pledged_g": -PRICE_G}, 409),
        "adjust": Asked(book, gift, 201, {"available_g": 7}, 201, by_operator=True),
        "reverse": Asked(reverse, tram, 200, {"ripening_g": -60}, 409, by_operator=True),
    }


def moved(before, moves):
    """These balances after that."""
    return before | {account: before[account] + grams for account, grams in moves.items()}
