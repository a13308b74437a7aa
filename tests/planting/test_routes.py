"""Projects, pledges and trees as an app and a passer-by see them."""

import asyncio
from datetime import timedelta

import msgspec
import pytest

from service.platform.ids import uuid7
from tests.people import client_of, running_app
from tests.planting.forestry import PHOTO, START, assert_all_balances, give

KEY = "a-key-of-a-pledge-{}".format
PROJECT = {
    "name": "Alxa north",
    "species": "Haloxylon ammodendron",
    "place": "Alxa",
    "country": "CN",
    "partner": "Green Desert",
    "price_g": 100,
    "capacity": 10,
}
PLOT = {
    "name": "North 4",
    "position": {"type": "Point", "coordinates": [105.7, 38.8]},
    "area_m2": 1500.0,
}


@pytest.fixture
async def project(operator):
    return (await operator.post("/v1/operator/projects", PROJECT)).json()["id"]


@pytest.fixture
async def plot(operator, project):
    return (await operator.post(f"/v1/operator/projects/{project}/plots", PLOT)).json()["id"]


async def balances_of(caller):
    body = (await caller.get("/v1/me")).json()
    return {**body["balances"], **body["totals"]}


async def test_a_pledge_is_followed_from_the_desert_to_the_proof(
    client, operator, alice, project, plot
):
    order = {"project_id": project, "trees": 2, "dedication": "For Grandmother Li"}
    made = await alice.post("/v1/me/pledges", order, KEY(1))
    assert made.status_code == 201
    pledge = made.json()
    assert list(pledge) == [
        "id",
        "project_id",
        "trees",
        "amount_g",
        "status",
        "certificates",
        "timeline",
    ]
    assert (pledge["project_id"], pledge["trees"], pledge["amount_g"]) == (project, 2, 200)
    assert pledge["status"] == "pledged"
    assert [(e["status"], e["note"]) for e in pledge["timeline"]] == [
        ("pledged", "For Grandmother Li")
    ]
    assert (await alice.get(f"/v1/me/pledges/{pledge['id']}")).json() == pledge
    assert (await alice.get("/v1/me/pledges")).json()["items"][0] == pledge
    first, second = pledge["certificates"]
    assert first["tree_url"] == f"http://127.0.0.1:8000/v1/trees/{first['number']}"

    plots = f"/v1/operator/plots/{plot}"
    allocated = await operator.post(f"{plots}/allocate", {"trees": 2})
    assert allocated.json() == {
        "plot_id": plot,
        "status": "allocated",
        "trees": [first["number"], second["number"]],
        "remaining": 0,
    }
    planted = {"evidence": [PHOTO], "trees": [first["number"]]}
    assert (await operator.post(f"{plots}/planted", planted)).status_code == 200
    pledge = (await alice.get(f"/v1/me/pledges/{pledge['id']}")).json()
    assert pledge["status"] == "allocated"
    assert [(e["status"], e["note"]) for e in pledge["timeline"]] == [
        ("pledged", "For Grandmother Li"),
        ("allocated", "plot North 4"),
        ("planted", "plot North 4, 1 of 2 trees"),
    ]
    balances = await balances_of(alice)
    assert (balances["pledged_g"], balances["planted_g"], balances["trees"]) == (100, 100, 2)

    for step in ("planted", "verified"):
        answer = await operator.post(f"{plots}/{step}", {"evidence": []})
        assert answer.status_code == 200
    pledge = (await alice.get(f"/v1/me/pledges/{pledge['id']}")).json()
    assert pledge["status"] == "verified"
    listed = (await client.get("/v1/projects")).json()["items"]
    assert next(item for item in listed if item["id"] == project) == {
        **PROJECT,
        "id": project,
        "pledged": 2,
        "planted": 2,
        "verified": 2,
        "season": None,
        "image_url": None,
    }


async def test_the_proof_of_a_tree_tells_all_but_whose_it_is(
    operator, alice, database, project, plot
):
    order = {"project_id": project, "trees": 2, "dedication": "For Grandmother Li"}
    pledge = (await alice.post("/v1/me/pledges", order, KEY(1))).json()
    number = pledge["certificates"][0]["number"]
    await operator.post(f"/v1/operator/plots/{plot}/allocate", {"trees": 2})
    planted = {"evidence": [PHOTO], "trees": [number]}
    await operator.post(f"/v1/operator/plots/{plot}/planted", planted)
    answer = await alice.client.get(f"/v1/trees/{number.lower().replace('-', '')}")
    assert answer.status_code == 200
    tree = answer.json()
    shown_plot = {**PLOT, "id": plot}
    assert (tree["number"], tree["status"]) == (number, "planted")
    assert tree["species"] == "Haloxylon ammodendron"
    assert tree["project"]["partner"] == "Green Desert"
    assert tree["plot"] == shown_plot
    assert [(e["status"], e["plot"], e["evidence"]) for e in tree["timeline"]] == [
        ("pledged", None, []),
        ("allocated", shown_plot, []),
        ("planted", shown_plot, [PHOTO]),
    ]
    statement = await database.pool.fetch(
        "SELECT cause, amount_g, hash FROM transfers"
        " WHERE participant_id = $1 AND cause <> 'adjust' ORDER BY seq",
        alice.participant_id,
    )
    assert tree["paid"]["amount_g"] == 100
    assert [(t["cause"], t["amount_g"], t["hash"]) for t in tree["paid"]["transfers"]] == [
        (row["cause"], row["amount_g"], row["hash"].hex()) for row in statement
    ]
    for secret in (str(alice.participant_id), "Grandmother", "alice", pledge["id"]):
        assert secret not in answer.text


@pytest.mark.parametrize("number", ["SX-0000-0000-0001", "SX-0000-0000-0000", "SX", "%F0%9F%8C%B3"])
async def test_an_unknown_tree_is_not_found(client, number):
    answer = await client.get(f"/v1/trees/{number}")
    assert (answer.status_code, answer.json()["code"]) == (404, "not-found")


async def test_lost_and_replaced_trees_show_it(operator, alice, project, plot):
    order = {"project_id": project, "trees": 1}
    pledge = (await alice.post("/v1/me/pledges", order, KEY(1))).json()
    steps = [("allocate", {"trees": 1}, "allocated"), ("planted", {"evidence": []}, "planted")]
    steps += [("lost", {"evidence": [PHOTO]}, "lost"), ("allocate", {"trees": 1}, "replaced")]
    steps += [("planted", {"evidence": []}, "planted"), ("verified", {"evidence": []}, "verified")]
    for act, body, status in steps:
        answer = await operator.post(f"/v1/operator/plots/{plot}/{act}", body)
        assert answer.status_code == 200
        shown = (await alice.get(f"/v1/me/pledges/{pledge['id']}")).json()
        assert (shown["status"], shown["timeline"][-1]["status"]) == (status, status)
    assert (await balances_of(alice))["planted_g"] == 100


async def test_the_trees_of_an_erased_person_are_planted_all_the_same(
    operator, alice, database, project, plot
):
    order = {"project_id": project, "trees": 1, "dedication": "For Grandmother Li"}
    pledge = (await alice.post("/v1/me/pledges", order, KEY(1))).json()
    erased = await alice.client.delete("/v1/me", headers=alice.headers)
    assert erased.status_code == 204
    assert (await alice.get("/v1/me/pledges")).json()["items"] == []
    for step, body in (("allocate", {"trees": 1}), ("planted", {"evidence": []})):
        answer = await operator.post(f"/v1/operator/plots/{plot}/{step}", body)
        assert answer.status_code == 200
    number = pledge["certificates"][0]["number"]
    assert (await alice.client.get(f"/v1/trees/{number}")).json()["status"] == "planted"
    await assert_all_balances(database)


async def test_a_pledge_needs_a_key_and_the_same_key_pledges_once(alice, project):
    order = {"project_id": project, "trees": 1}
    missing = await alice.post("/v1/me/pledges", order)
    assert (missing.status_code, missing.json()["code"]) == (400, "idempotency-key-required")
    answers = await asyncio.gather(*(alice.post("/v1/me/pledges", order, KEY(1)) for _ in range(8)))
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.content for answer in answers}) == 1
    replayed = sorted(answer.headers.get("Idempotency-Replayed", "") for answer in answers)
    assert replayed == ["", *["true"] * 7]
    other = await alice.post("/v1/me/pledges", {**order, "trees": 2}, KEY(1))
    assert (other.status_code, other.json()["code"]) == (422, "idempotency-key-reused")
    assert (await balances_of(alice))["pledged_g"] == 100


async def test_fifty_people_at_once_buy_ten_trees(client, sign_in, database, operator, project):
    people = [await sign_in(f"person {index}") for index in range(50)]
    for person in people:
        await give(database, person.participant_id, 100)
    order = {"project_id": project, "trees": 1}
    answers = await asyncio.gather(
        *(person.post("/v1/me/pledges", order, KEY(1)) for person in people)
    )
    codes = sorted(answer.status_code for answer in answers)
    assert codes == [201] * 10 + [409] * 40
    refused = [answer.json() for answer in answers if answer.status_code == 409]
    assert {(body["code"], body["trees_left"]) for body in refused} == {("sold-out", 0)}
    assert (await client.get(f"/v1/projects/{project}")).json()["pledged"] == 10
    await assert_all_balances(database)


async def test_conflicts_have_their_codes(operator, alice, project):
    broke = await alice.post("/v1/me/pledges", {"project_id": project, "trees": 11}, KEY(1))
    assert (broke.status_code, broke.json()["code"]) == (409, "sold-out")
    await operator.patch(f"/v1/operator/projects/{project}", {"price_g": 501})
    poor = await alice.post("/v1/me/pledges", {"project_id": project, "trees": 2}, KEY(2))
    assert (poor.status_code, poor.json()["code"]) == (409, "insufficient-energy")
    assert (poor.json()["needed_g"], poor.json()["available_g"]) == (1002, 1000)
    past = {"season": {"from": "2020-03-01", "until": "2020-05-31"}}
    assert (await operator.patch(f"/v1/operator/projects/{project}", past)).status_code == 200
    closed = await alice.post("/v1/me/pledges", {"project_id": project, "trees": 1}, KEY(3))
    assert (closed.status_code, closed.json()["code"]) == (409, "season-closed")
    assert closed.json()["season"] == past["season"]


async def test_links_begin_with_the_address_that_is_set_whatever_host_is_named(
    settings, alice, project
):
    made = await alice.post("/v1/me/pledges", {"project_id": project, "trees": 1}, KEY(1))
    number = made.json()["certificates"][0]["number"]
    public = msgspec.structs.replace(settings, public_url="https://saxaul.example/api/")
    async with running_app(public) as app, client_of(app) as other:
        headers = alice.headers | {"Host": "evil.example"}
        shown = await other.get(f"/v1/trees/{number}", headers=headers)
    assert shown.json()["tree_url"] == f"https://saxaul.example/api/v1/trees/{number}"


async def test_a_pledge_is_cancelled_once_and_only_before_a_tree_has_a_plot(
    operator, alice, project, plot
):
    order = {"project_id": project, "trees": 2}
    pledge = (await alice.post("/v1/me/pledges", order, KEY(1))).json()
    path = f"/v1/me/pledges/{pledge['id']}/cancel"
    cancelled = await alice.post(path, key=KEY(7))
    assert (cancelled.status_code, cancelled.json()["status"]) == (200, "cancelled")
    assert [e["status"] for e in cancelled.json()["timeline"]] == ["pledged", "cancelled"]
    assert (await alice.post(path, key=KEY(7))).json() == cancelled.json()
    again = await alice.post(path, {})
    assert (again.status_code, again.json()["code"]) == (409, "pledge-not-cancellable")
    assert "was cancelled at" in again.json()["detail"]
    assert (await alice.get(f"/v1/me/pledges/{pledge['id']}")).json() == cancelled.json()
    balances = await balances_of(alice)
    assert (balances["available_g"], balances["pledged_g"], balances["trees"]) == (1000, 0, 0)
    tree = pledge["certificates"][0]["number"]
    assert (await alice.get(f"/v1/trees/{tree}")).json()["status"] == "cancelled"

    pledge = (await alice.post("/v1/me/pledges", order, KEY(2))).json()
    await operator.post(f"/v1/operator/plots/{plot}/allocate", {"trees": 1})
    refused = await alice.post(f"/v1/me/pledges/{pledge['id']}/cancel")
    assert (refused.status_code, refused.json()["code"]) == (409, "pledge-not-cancellable")


BAD_ORDERS = [
    ({"trees": 0}, "#/trees"),
    ({"trees": 1001}, "#/trees"),
    ({"trees": 1.5}, "#/trees"),
    ({"trees": "1"}, "#/trees"),
    ({"trees": 10**30}, "#/trees"),
    ({"trees": None}, "#/trees"),
    ({"project_id": "demo"}, "#/project_id"),
    ({"project_id": 7}, "#/project_id"),
    ({"dedication": "x" * 201}, "#/dedication"),
    ({"dedication": "a\0b"}, "#/dedication"),
    ({"colour": "green"}, "#/colour"),
]


async def test_a_bad_order_is_refused_by_its_place(alice):
    for change, pointer in BAD_ORDERS:
        order = {"project_id": str(uuid7(START)), "trees": 1, **change}
        answer = await alice.post("/v1/me/pledges", order, KEY(1))
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid-request"), change
        assert [fault["pointer"] for fault in answer.json()["errors"]] == [pointer], change


async def test_what_is_not_there_is_not_found(alice, sign_in, client, project):
    nowhere = uuid7(START)
    order = {"project_id": str(nowhere), "trees": 1}
    assert (await alice.post("/v1/me/pledges", order, KEY(1))).status_code == 404
    order = {"project_id": project, "trees": 1}
    pledge = (await alice.post("/v1/me/pledges", order, KEY(2))).json()["id"]
    bob = await sign_in("bob")
    for path in (f"/v1/me/pledges/{nowhere}", f"/v1/me/pledges/{pledge}", "/v1/me/pledges/x"):
        assert (await bob.get(path)).status_code == 404
        assert (await bob.post(f"{path}/cancel")).status_code == 404
    for path in (f"/v1/projects/{nowhere}", "/v1/projects/x"):
        assert (await client.get(path)).status_code == 404


async def test_pledges_are_for_participants_only(client, operator, project):
    for method, path in (
        ("GET", "/v1/me/pledges"),
        ("POST", "/v1/me/pledges"),
        ("GET", f"/v1/me/pledges/{uuid7(START)}"),
        ("POST", f"/v1/me/pledges/{uuid7(START)}/cancel"),
    ):
        assert (await client.request(method, path)).status_code == 401
        refused = await client.request(method, path, headers=operator.headers)
        assert refused.status_code == 403


async def test_lists_are_paged_and_stable_while_others_write(client, operator, alice, project):
    made = []
    for index in range(5):
        order = {"project_id": project, "trees": 1}
        made.append((await alice.post("/v1/me/pledges", order, KEY(index))).json()["id"])
    page = (await alice.get("/v1/me/pledges?limit=2")).json()
    await alice.post("/v1/me/pledges", {"project_id": project, "trees": 1}, KEY(9))
    listed = page["items"]
    while page["next_cursor"]:
        path = f"/v1/me/pledges?limit=2&cursor={page['next_cursor']}"
        page = (await alice.get(path)).json()
        listed += page["items"]
    assert [item["id"] for item in listed] == made[::-1]

    wanted = {(await operator.post("/v1/operator/projects", PROJECT)).json()["id"]}
    wanted.add(project)
    page = (await client.get("/v1/projects?limit=1")).json()
    seen = [item["id"] for item in page["items"]]
    while page["next_cursor"]:
        page = (await client.get(f"/v1/projects?limit=1&cursor={page['next_cursor']}")).json()
        assert len(page["items"]) == 1
        seen += [item["id"] for item in page["items"]]
    assert wanted <= set(seen)
    assert len(seen) == len(set(seen))
    for path in ("/v1/projects?limit=0", "/v1/projects?cursor=x", "/v1/projects?colour=green"):
        assert (await client.get(path)).status_code == 422


async def test_a_season_opens_with_the_clock(client, operator, alice, project):
    now = (await client.get("/v1/dev/clock")).json()["now"]
    today = START.fromisoformat(now)
    first, last = (today + timedelta(days=days) for days in (30, 40))
    season = {"from": first.date().isoformat(), "until": last.date().isoformat()}
    await operator.patch(f"/v1/operator/projects/{project}", {"season": season})
    assert (await client.get(f"/v1/projects/{project}")).json()["season"] == season
    order = {"project_id": project, "trees": 1}
    assert (await alice.post("/v1/me/pledges", order, KEY(1))).status_code == 409
    await client.post("/v1/dev/clock", json={"advance_s": 35 * 86_400})
    assert (await alice.post("/v1/me/pledges", order, KEY(2))).status_code == 201
