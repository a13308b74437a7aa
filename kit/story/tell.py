"""The story in scenes, each a few requests and a table of what they answered."""

from hashlib import sha256

import msgspec
from rich.console import Console

from kit.replay.api import Api, read_board
from kit.story.partner import ride
from kit.story.stage import Person, Story, require

_PEOPLE = (
    ("demo-mei", "Mei", "CN-ZJ", 9_200, 6.4),
    ("demo-omar", "Omar", "CN-ZJ", 5_100, 3.6),
    ("demo-lucia", "Lucía", "CN-SH", 21_500, 15.3),
)


async def tell_story(api: Api, console: Console) -> None:
    """Tell all of it. Raises ApiError when the program does not do what the story says."""
    story = Story(api, console, await api.get("/v1/program"))
    people = await _meet(story)
    await _walk(story, people)
    await _refuse(story, people[0])
    await ride(story, people[0])
    await _wait(story, people[0])
    await _collect(story, people)
    await _rank(story, people[0])
    await _plant(story, people[0])
    await _explain(story, people[0])
    await _audit(story)


async def _meet(story: Story) -> list[Person]:
    story.scene(f"Three people join {story.program['name']}")
    people, rows = [], []
    for subject, name, region, *_ in _PEOPLE:
        order = {"subject": subject, "role": "participant"}
        person = Person(name, (await story.api.post("/v1/dev/token", order))["access_token"])
        edit = msgspec.json.encode({"display_name": name, "region": region})
        response = await story.api.send("PATCH", "/v1/me", token=person.token, content=edit)
        require(response.status_code == 200, "a profile can be changed")
        me = await story.api.get("/v1/me", person.token)
        people.append(person)
        rows.append((name, region, me["participant_id"]))
    story.table(("name", "region", "participant"), rows)
    return people


async def _walk(story: Story, people: list[Person]) -> None:
    story.scene("They walk; their phones report it")
    rows = []
    for person, (*_, steps, distance_km) in zip(people, _PEOPLE, strict=True):
        action = await story.api.post(
            "/v1/me/actions",
            {
                "type": "mobility.walk",
                "occurred_at": await story.now(),
                "attributes": {"steps": steps, "distance_km": distance_km},
                "reporter": "device",
            },
            person.token,
        )
        award = action["awards"][0]
        limited_by = award["limited_by"] or "-"
        rows.append((person.name, steps, action["energy_g"], action["saved_g"], limited_by))
    story.table(("who", "steps", "energy g", "saved g CO2e", "limited by"), rows)
    story.say(f"Why: {award['explanation']}")


async def _refuse(story: Story, person: Person) -> None:
    story.scene("What cannot be is refused, with its reason")
    attributes = {"steps": 2, "distance_km": 16.0}
    body = {"type": "mobility.walk", "occurred_at": await story.now(), "attributes": attributes}
    response = await story.api.send(
        "POST", "/v1/me/actions", token=person.token, content=msgspec.json.encode(body)
    )
    problem = response.json()
    require(problem.get("reason") == "implausible", "two steps are not sixteen kilometres")
    story.table(
        ("status", "code", "reason", "detail"),
        [(response.status_code, problem["code"], problem["reason"], problem["detail"])],
    )


async def _wait(story: Story, person: Person) -> None:
    story.scene("The energy waits in a bubble until it is ripe")
    bubbles = (await story.api.get("/v1/me/bubbles", person.token))["items"]
    story.table(
        ("whose", "energy g", "state", "ripens", "expires"),
        [
            (
                person.name,
                bubble["remaining_g"],
                bubble["state"],
                story.local(bubble["ripens_at"]),
                story.local(bubble["expires_at"]),
            )
            for bubble in bubbles
        ],
    )
    await story.move_clock_to_next_morning()


async def _collect(story: Story, people: list[Person]) -> None:
    story.scene("In the morning everybody collects")
    rows = []
    for person in people:
        answer = await story.api.post("/v1/me/bubbles/collect", token=person.token)
        require(answer["collected_g"] > 0, "yesterday's energy is ripe")
        rows.append((person.name, answer["collected_g"], answer["balances"]["available_g"]))
    story.table(("who", "collected g", "available g"), rows)


async def _rank(story: Story, person: Person) -> None:
    story.scene("The board shows it a moment later")
    board = await read_board(story.api, person.token, "energy", 5)
    story.table(
        ("rank", "name", "g collected"),
        [(item["rank"], item["display_name"], item["score"]) for item in board["items"]],
    )


async def _plant(story: Story, person: Person) -> None:
    story.scene(f"{person.name} pledges a tree, and an operator sees it planted")
    projects = (await story.api.get("/v1/projects"))["items"]
    project = min(projects, key=lambda project: project["price_g"])
    body = msgspec.json.encode({"project_id": project["id"], "trees": 1})
    response = await story.api.send(
        "POST",
        "/v1/me/pledges",
        token=person.token,
        content=body,
        headers={"Idempotency-Key": "demo-story-first-tree"},
    )
    require(response.status_code == 201, "a tree can be pledged")
    pledge = response.json()
    number = pledge["certificates"][0]["number"]
    story.say(
        f"{pledge['amount_g']} g for one {project['species']} of {project['name']},"
        f" {project['place']}: tree {number}"
    )
    await _see_planted(story, project["id"])
    tree = await story.api.get(f"/v1/trees/{number}")
    require(tree["status"] == "verified", "the tree is verified")
    rows = []
    for step in tree["timeline"]:
        plot = step["plot"]["name"] if step["plot"] else "-"
        evidence = ", ".join(item["sha256"][:12] for item in step["evidence"]) or "-"
        rows.append((step["status"], story.local(step["at"]), plot, evidence))
    story.say("The public proof, which names nobody:")
    story.table(("status", "at", "plot", "evidence (SHA-256)"), rows)


async def _see_planted(story: Story, project_id: str) -> None:
    """What the operator does: a plot, trees allocated to it, planted, verified."""
    order = {"subject": "demo-operator", "role": "operator"}
    token = (await story.api.post("/v1/dev/token", order))["access_token"]
    position = {"type": "Point", "coordinates": [103.09, 38.62]}
    plot = await story.api.post(
        f"/v1/operator/projects/{project_id}/plots",
        {"name": "demo-plot-1", "position": position, "area_m2": 900},
        token,
    )
    path = f"/v1/operator/plots/{plot['id']}"
    await story.api.post(f"{path}/allocate", {"trees": 1}, token)
    for status, days in (("planted", 3), ("verified", 30)):
        await story.api.post("/v1/dev/clock", {"advance_s": days * 86_400})
        photo = {
            "url": f"https://example.org/{status}.jpg",
            "sha256": sha256(status.encode()).hexdigest(),
            "taken_at": await story.now(),
            "position": position,
        }
        await story.api.post(f"{path}/{status}", {"evidence": [photo]}, token)


async def _explain(story: Story, person: Person) -> None:
    story.scene("Every gram stands in the statement, each line chained to the one before")
    items = (await story.api.get("/v1/me/statement", person.token))["items"]
    story.table(
        ("seq", "from", "to", "g", "cause", "at", "hash"),
        [
            (
                item["seq"],
                item["debit"],
                item["credit"],
                item["amount_g"],
                item["cause"],
                story.local(item["at"]),
                item["hash"][:8],
            )
            for item in reversed(items)
        ],
    )


async def _audit(story: Story) -> None:
    story.scene("The audit recomputes everything")
    order = {"subject": "demo-operator", "role": "operator"}
    token = (await story.api.post("/v1/dev/token", order))["access_token"]
    report = await story.api.post("/v1/operator/ledger/audit", {"mode": "full"}, token)
    names = ("books", "transfers", "actions")
    story.table(
        (*names, "differences"),
        [(*(report[name] for name in names), sum(report["found"].values()))],
    )
    require(report["clean"] and report["complete"], "the ledger is clean")
