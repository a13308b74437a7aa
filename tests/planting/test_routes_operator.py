"""What operators may say of projects, plots and trees, and what is refused by its place."""

import pytest

from service.platform.ids import uuid7
from tests.planting.forestry import PHOTO, START
from tests.planting.test_routes import KEY, PLOT, PROJECT

HOLE = [[105.05, 38.01], [105.08, 38.01], [105.08, 38.04], [105.05, 38.01]]
RING = [[105.0, 38.0], [105.1, 38.0], [105.1, 38.1], [105.0, 38.0]]


@pytest.fixture
async def project(operator):
    return (await operator.post("/v1/operator/projects", PROJECT)).json()["id"]


@pytest.fixture
async def plot(operator, project):
    return (await operator.post(f"/v1/operator/projects/{project}/plots", PLOT)).json()["id"]


async def log_of(database, object_id):
    return await database.pool.fetch(
        "SELECT actor, act, detail, request_id FROM audit_log WHERE object = $1 ORDER BY seq",
        object_id,
    )


async def test_a_project_is_opened_changed_and_logged(operator, database):
    more = {"season": {"from": "2026-03-01", "until": "2026-05-31"}, "funded": 4}
    made = await operator.post("/v1/operator/projects", {**PROJECT, **more})
    assert made.status_code == 201
    project = made.json()["id"]
    counts = {"pledged": 0, "planted": 0, "verified": 0, "image_url": None}
    assert made.json() == {**PROJECT, **more, **counts, "id": project}
    path = f"/v1/operator/projects/{project}"
    changes = {"season": None, "funded": None, "image_url": "https://trees.example/a.jpg"}
    changed = await operator.patch(path, {**changes, "price_g": 90})
    assert changed.status_code == 200
    assert changed.json() == {
        **made.json(),
        "season": None,
        "funded": 10,
        "image_url": "https://trees.example/a.jpg",
        "price_g": 90,
    }
    assert (await operator.patch(path, {})).json() == changed.json()
    entries = await log_of(database, project)
    assert [(row["actor"], row["act"]) for row in entries] == [
        ("olga", "project.make"),
        ("olga", "project.change"),
        ("olga", "project.change"),
    ]
    assert entries[1]["detail"]["price_g"] == {"from": 100, "to": 90}
    assert entries[1]["detail"]["season_from"] == {"from": "2026-03-01", "to": None}
    assert len({row["request_id"] for row in entries}) == 3


@pytest.mark.parametrize("day", ["2026-11-30T00:00:00Z", "30.11.2026", "2026-02-30"])
async def test_what_is_no_date_is_told_how_a_date_is_written(operator, day):
    season = {"from": day, "until": "2026-12-31"}
    refused = await operator.post("/v1/operator/projects", {**PROJECT, "season": season})
    assert refused.status_code == 422
    assert refused.json()["errors"] == [
        {"pointer": "#/season/from", "detail": "must be a date, such as 2026-11-21"}
    ]


async def test_projects_and_plots_are_made_once_a_key(operator, database):
    body = {
        "name": "Alxa twice",
        "species": "Haloxylon ammodendron",
        "place": "Alxa",
        "country": "CN",
        "price_g": 100,
        "capacity": 10,
        "partner": "Green Desert",
    }
    first = await operator.post("/v1/operator/projects", body, "a-project-that-is-made-once")
    again = await operator.post("/v1/operator/projects", body, "a-project-that-is-made-once")
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.json() == again.json()
    assert again.headers["idempotency-replayed"] == "true"
    path = f"/v1/operator/projects/{first.json()['id']}/plots"
    plot = {"name": "North 4", "position": {"type": "Point", "coordinates": [1, 2]}, "area_m2": 3}
    plots = [await operator.post(path, plot, "a-plot-that-is-made-once") for _ in range(2)]
    assert [answer.status_code for answer in plots] == [201, 201]
    assert plots[0].json() == plots[1].json()
    made = "SELECT (SELECT count(*) FROM projects WHERE name = 'Alxa twice'), count(*) FROM plots"
    assert tuple(await database.pool.fetchrow(made)) == (1, 1)


async def test_a_new_price_holds_for_new_pledges(operator, alice, project):
    order = {"project_id": project, "trees": 1}
    first = (await alice.post("/v1/me/pledges", order, KEY(1))).json()
    await operator.patch(f"/v1/operator/projects/{project}", {"price_g": 150})
    second = (await alice.post("/v1/me/pledges", order, KEY(2))).json()
    assert (first["amount_g"], second["amount_g"]) == (100, 150)
    cancelled = (await alice.post(f"/v1/me/pledges/{first['id']}/cancel")).json()
    assert cancelled["amount_g"] == 100


async def test_promised_trees_keep_their_room(operator, alice, project):
    await alice.post("/v1/me/pledges", {"project_id": project, "trees": 4}, KEY(1))
    path = f"/v1/operator/projects/{project}"
    for changes in ({"capacity": 3}, {"funded": 3}, {"funded": 11}):
        refused = await operator.patch(path, changes)
        assert (refused.status_code, refused.json()["code"]) == (409, "project-capacity")
    assert (await operator.patch(path, {"capacity": 4})).status_code == 200
    sold_out = await alice.post("/v1/me/pledges", {"project_id": project, "trees": 1}, KEY(2))
    assert sold_out.json()["code"] == "sold-out"
    assert (await operator.patch(path, {"capacity": 5})).status_code == 200
    more = await alice.post("/v1/me/pledges", {"project_id": project, "trees": 1}, KEY(3))
    assert more.status_code == 201


BAD_PROJECTS = [
    ({"name": ""}, "#/name"),
    ({"name": " \n"}, "#/name"),
    ({"name": "x" * 201}, "#/name"),
    ({"place": "a\0b"}, "#/place"),
    ({"name": "\u200b"}, "#/name"),
    ({"name": "north\nsouth"}, "#/name"),
    ({"name": "\u2800\u2800 \u2800"}, "#/name"),
    ({"place": "\ufffc"}, "#/place"),
    ({"species": "\U0001d159"}, "#/species"),
    ({"species": "Haloxylon \u202emurdnedommа"}, "#/species"),
    ({"partner": "Green\u2028Desert"}, "#/partner"),
    ({"country": "\u00a0\u00a0"}, "#/country"),
    ({"country": "C"}, "#/country"),
    ({"price_g": 0}, "#/price_g"),
    ({"price_g": 10**30}, "#/price_g"),
    ({"capacity": 0}, "#/capacity"),
    ({"capacity": 2**40}, "#/capacity"),
    ({"funded": -1}, "#/funded"),
    ({"funded": 11, "capacity": 10}, "#/funded"),
    ({"season": {"from": "2026-03-01"}}, "#/season/until"),
    ({"season": {"from": "2026-03-02", "until": "2026-03-01"}}, "#/season/until"),
    ({"season": {"from": "2026-03-01", "until": "2026-03-01"}}, "#/season/until"),
    ({"season": {"from": "spring", "until": "2026-03-01"}}, "#/season/from"),
    ({"image_url": "ftp://trees.example/a.jpg"}, "#/image_url"),
    ({"image_url": "javascript:alert(1)"}, "#/image_url"),
    ({"image_url": "https://trees.example/a\n"}, "#/image_url"),
    ({"id": "x"}, "#/id"),
]


async def test_a_bad_project_is_refused_by_its_place(operator, project):
    for change, pointer in BAD_PROJECTS:
        for answer in (
            await operator.post("/v1/operator/projects", {**PROJECT, **change}),
            await operator.patch(f"/v1/operator/projects/{project}", change),
        ):
            assert (answer.status_code, answer.json()["code"]) == (422, "invalid-request"), change
            assert [fault["pointer"] for fault in answer.json()["errors"]] == [pointer], change


POSITIONS = [
    {"type": "Point", "coordinates": [-180, 90]},
    {"type": "Point", "coordinates": [105.7, 38.8, 1200.5]},
    {"type": "Polygon", "coordinates": [RING]},
    {"type": "Polygon", "coordinates": [RING, HOLE]},
    {"type": "MultiPolygon", "coordinates": [[RING, HOLE], [[[a + 1, b] for a, b in RING]]]},
    # Export programs repeat positions, and a border may touch that of a hole.
    {"type": "Polygon", "coordinates": [[RING[0], RING[0], *RING[1:]]]},
    {"type": "Polygon", "coordinates": [RING, [RING[0], *HOLE[1:3], RING[0]]]},
]
BOX = [105.0, 38.0, 105.1, 38.1]


def square(west, south, size, *, turned=False):
    spots = [(0, 0), (size, 0), (size, size), (0, size), (0, 0)]
    return [[west + x, south + y] for x, y in (spots[::-1] if turned else spots)]


# A lake of 2 by 2 with what lies in it, and land like a U, open to the north.
LAKE = [square(0, 0, 10), square(4, 4, 2)]
BAY = [[0, 0], [9, 0], [9, 9], [6, 9], [6, 3], [3, 3], [3, 9], [0, 9], [0, 0]]
POSITIONS += [
    {"type": "MultiPolygon", "coordinates": pieces}
    for pieces in (
        [LAKE, [square(4, 4, 2)]],
        [[square(4.5, 4.5, 1)], LAKE],
        [LAKE, [square(4, 4, 2), square(4.5, 4.5, 1)], [square(4.5, 4.5, 1)]],
        [[square(0, 0, 1)], [square(1, 0, 1)], [square(1, 1, 1, turned=True)]],
        [[square(0, 0, 4), square(0, 0, 1), square(1, 0, 1, turned=True), square(1, 1, 3)]],
        [[BAY], [square(3, 3, 3)]],
        [[BAY], [[[4, 4], [5, 4], [5, 12], [4, 4]]]],
        [[[*BAY[:2], [9.0, 4.5], *BAY[2:]], [[9, 2], [9, 5], [8, 4], [9, 2]]]],
    )
]


async def test_names_are_kept_in_one_form(operator):
    names = {"name": "  Alxa no\u0308rd ", "place": "Сүхбаатар", "species": "Прунус 🌳"}
    made = await operator.post("/v1/operator/projects", {**PROJECT, **names})
    told = {key: made.json()[key] for key in names}
    assert told == {"name": "Alxa nörd", "place": "Сүхбаатар", "species": "Прунус 🌳"}


async def test_plots_are_points_or_polygons(operator, database, project):
    for position in POSITIONS:
        body = {**PLOT, "position": position}
        made = await operator.post(f"/v1/operator/projects/{project}/plots", body)
        assert made.status_code == 201, position
        assert made.json() == {**body, "id": made.json()["id"], "project_id": project}
        entries = await log_of(database, made.json()["id"])
        assert [row["act"] for row in entries] == ["plot.make"]


async def test_of_what_maps_export_the_geometry_is_kept(operator, project):
    for position in POSITIONS:
        boxed = {**position, "bbox": BOX}
        feature = {"type": "Feature", "id": 7, "bbox": BOX, "geometry": boxed, "properties": None}
        named = {"type": "Feature", "geometry": position, "properties": {"name": "North"}}
        for given in (boxed, feature, named):
            body = {**PLOT, "position": given}
            made = await operator.post(f"/v1/operator/projects/{project}/plots", body)
            assert (made.status_code, made.json()["position"]) == (201, position), made.text


def polygon(*spots):
    return {"type": "Polygon", "coordinates": [[*map(list, spots), list(spots[0])]]}


NO_LAND = [
    (polygon((0, 0), (1, 1), (1, 0), (0, 1)), "/coordinates/0", "crosses or touches itself"),
    (polygon((0, 0), (2, 0), (1, 0), (1, 1)), "/coordinates/0", "crosses or touches itself"),
    (
        polygon((0, 0), (2, 0), (1, 1), (2, 2), (0, 2), (1, 1)),
        "/coordinates/0",
        "crosses or touches itself on the line [2, 0] to [1, 1]",
    ),
    (polygon((0, 0), (1, 1), (2, 2)), "/coordinates/0", "encloses no area"),
    (polygon((5, 5), (5, 5), (5, 5)), "/coordinates/0", "encloses no area"),
    (polygon((3, 1), (0, 0), (3, 1), (6, 2)), "/coordinates/0", "encloses no area"),
    (
        {"type": "Polygon", "coordinates": [RING, [[a + 0.01, b] for a, b in RING]]},
        "/coordinates/1",
        "crosses another ring",
    ),
    (
        {
            "type": "MultiPolygon",
            "coordinates": [[RING], [[RING[0], RING[2], RING[2], RING[0]]]],
        },
        "/coordinates/1/0",
        "encloses no area",
    ),
]


def pieces(*polygons):
    return {"type": "MultiPolygon", "coordinates": list(polygons)}


BEYOND, OVER = "must lie within its border", "overlaps another ring"
NO_LAND += [
    # Holes that leave nothing: the border itself, turned round, or all of it in two.
    (pieces([RING, RING]), "/coordinates/0/1", "leaves no area"),
    (pieces([square(0, 0, 4), square(0, 0, 4, turned=True)]), "/coordinates/0/1", "leaves no area"),
    (
        pieces(
            [
                RING,
                [RING[0], RING[1], [105.05, 38.05], RING[0]],
                [RING[1], RING[2], [105.05, 38.05], RING[1]],
            ]
        ),
        "/coordinates/0/2",
        "leaves no area",
    ),
    # Holes beyond their border: apart, round it, through its corners, over a bay, out of a corner.
    (pieces([square(0, 0, 4), square(5, 5, 1)]), "/coordinates/0/1", BEYOND),
    (pieces([square(0, 0, 4), square(4, 0, 4)]), "/coordinates/0/1", BEYOND),
    (pieces([square(1, 1, 1), square(0, 0, 4)]), "/coordinates/0/1", BEYOND),
    (pieces([BAY, [[3, 9], [6, 9], [4.5, 3], [3, 9]]]), "/coordinates/0/1", BEYOND),
    (
        pieces([BAY, [[1, 5], [3, 9], [6, 9], [8, 5], [4.5, 1], [1, 5]]]),
        "/coordinates/0/1",
        BEYOND,
    ),
    (pieces([BAY, square(3, 3, 3)]), "/coordinates/0/1", BEYOND),
    (pieces([square(0, 0, 4), [[4, 0], [4, 4], [8, 2], [4, 0]]]), "/coordinates/0/1", BEYOND),
    (pieces([square(0, 0, 2), [[1, 0], [2, 1], [3, 0], [1, 0]]]), "/coordinates/0/1", BEYOND),
    # Holes, and pieces, that lie over each other.
    (pieces([square(0, 0, 9), square(1, 1, 1), square(1, 1, 1)]), "/coordinates/0/2", OVER),
    (pieces([square(0, 0, 9), square(2, 2, 1), square(1, 1, 4)]), "/coordinates/0/2", OVER),
    (pieces([RING], [RING]), "/coordinates/1/0", OVER),
    (pieces([square(0, 0, 4)], [square(0, 0, 4, turned=True)]), "/coordinates/1/0", OVER),
    (pieces([square(1, 1, 1)], [square(0, 0, 4)]), "/coordinates/1/0", OVER),
    (pieces([RING, HOLE], [RING, HOLE]), "/coordinates/1/0", OVER),
    (pieces(LAKE, [square(4, 4, 2)], [square(4, 4, 2)]), "/coordinates/2/0", OVER),
    (pieces(LAKE, [square(1, 1, 8)]), "/coordinates/1/0", OVER),
    (
        pieces([square(0, 0, 4)], [[[0, 0], [2, 2], [4, 4], [0, 4], [0, 0]]]),
        "/coordinates/1/0",
        OVER,
    ),
]


async def test_what_encloses_no_land_is_refused_with_words(operator, project):
    for position, place, words in NO_LAND:
        feature = {"type": "Feature", "geometry": position, "properties": {}}
        for given, at in ((position, place), (feature, f"/geometry{place}")):
            body = {**PLOT, "position": given}
            answer = await operator.post(f"/v1/operator/projects/{project}/plots", body)
            assert answer.status_code == 422, position
            (fault,) = answer.json()["errors"]
            assert fault["pointer"] == f"#/position{at}"
            assert fault["detail"].startswith(words)


BAD_POSITIONS = [
    ({"type": "Point", "coordinates": [0, 0], "bbox": [0, 0]}, "/bbox"),
    ({"type": "Feature", "geometry": None, "properties": {}}, "/geometry"),
    ({"type": "Feature", "properties": {}}, "/geometry"),
    ({"type": "Point", "coordinates": [181, 0]}, "/coordinates/0"),
    ({"type": "Point", "coordinates": [0, -90.5]}, "/coordinates/1"),
    ({"type": "Point", "coordinates": [0]}, "/coordinates"),
    ({"type": "Point", "coordinates": [0, 0, 0, 0]}, "/coordinates"),
    ({"type": "Point", "coordinates": [0, 0, 1e300]}, "/coordinates/2"),
    ({"type": "Point", "coordinates": ["0", 0]}, "/coordinates/0"),
    ({"type": "Point", "coordinates": RING}, "/coordinates/0"),
    ({"type": "Point", "coordinates": [0, 0], "crs": "x"}, "/crs"),
    ({"type": "LineString", "coordinates": RING}, "/type"),
    ({"coordinates": [0, 0]}, "/type"),
    ({"type": "Polygon", "coordinates": []}, "/coordinates"),
    ({"type": "Polygon", "coordinates": [RING[:3]]}, "/coordinates/0"),
    ({"type": "Polygon", "coordinates": [[*RING[:3], [0, 0]]]}, "/coordinates/0"),
    (
        {"type": "Polygon", "coordinates": [[[0, 0], [0, 91], [1, 0], [0, 0]]]},
        "/coordinates/0/1/1",
    ),
    ({"type": "Polygon", "coordinates": [RING] * 251}, "/coordinates"),
    ({"type": "Polygon", "coordinates": [RING * 13] * 20}, "/coordinates"),
    (None, ""),
]


async def test_a_bad_position_is_refused_by_its_place(operator, project):
    for position, pointer in BAD_POSITIONS:
        body = {**PLOT, "position": position}
        answer = await operator.post(f"/v1/operator/projects/{project}/plots", body)
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid-request"), position
        assert answer.json()["errors"][0]["pointer"] == f"#/position{pointer}", position


@pytest.mark.parametrize(
    ("position", "at", "allowed"),
    [
        ({"type": "Point", "coordinates": [1, 2], "crs": {}}, "crs", "type, bbox, coordinates"),
        (
            {"crs": {}, "type": "Feature", "geometry": {"type": "Point", "coordinates": [1, 2]}},
            "crs",
            "type, bbox, geometry, properties, id",
        ),
        (
            {"type": "Feature", "geometry": {"type": "Polygon", "coordinates": [RING], "id": 1}},
            "geometry/id",
            "type, bbox, coordinates",
        ),
    ],
)
async def test_of_an_unknown_field_those_of_its_type_are_told(
    operator, project, position, at, allowed
):
    body = {**PLOT, "position": position}
    answer = await operator.post(f"/v1/operator/projects/{project}/plots", body)
    (fault,) = answer.json()["errors"]
    assert fault["pointer"] == f"#/position/{at}"
    assert fault["detail"] == f"is not a field: allowed are {allowed}"


BAD_PLOTS = [
    ({"area_m2": 0}, "#/area_m2"),
    ({"area_m2": "wide"}, "#/area_m2"),
    ({"name": ""}, "#/name"),
    ({"soil": "sand"}, "#/soil"),
]


async def test_a_bad_plot_is_refused_by_its_place(operator, project):
    for change, pointer in BAD_PLOTS:
        body = {**PLOT, **change}
        answer = await operator.post(f"/v1/operator/projects/{project}/plots", body)
        assert answer.status_code == 422, change
        assert [fault["pointer"] for fault in answer.json()["errors"]] == [pointer], change


BAD_STEPS = [
    ("allocate", {"trees": 0}, "#/trees"),
    ("allocate", {"trees": 2_000_000}, "#/trees"),
    ("allocate", {}, "#/trees"),
    ("planted", {}, "#/evidence"),
    ("planted", {"evidence": [], "trees": []}, "#/trees"),
    ("planted", {"evidence": [], "trees": ["SX-0000-0000-0001"]}, "#/trees/0"),
    ("planted", {"evidence": [], "trees": ["x" * 41]}, "#/trees/0"),
    ("planted", {"evidence": [PHOTO] * 51}, "#/evidence"),
    ("verified", {"evidence": [{**PHOTO, "sha256": "ab"}]}, "#/evidence/0/sha256"),
    ("verified", {"evidence": [{**PHOTO, "url": "file:///etc/passwd"}]}, "#/evidence/0/url"),
    (
        "lost",
        {"evidence": [{**PHOTO, "taken_at": "2026-11-21T02:00:00"}]},
        "#/evidence/0/taken_at",
    ),
    (
        "lost",
        {"evidence": [PHOTO, {**PHOTO, "taken_at": "1999-11-21T02:00:00Z"}]},
        "#/evidence/1/taken_at",
    ),
    (
        "planted",
        {"evidence": [{**PHOTO, "position": {"type": "Point", "coordinates": [0, 91]}}]},
        "#/evidence/0/position/coordinates/1",
    ),
    ("planted", {"evidence": [], "note": "x"}, "#/note"),
]


async def test_a_bad_step_is_refused_by_its_place(operator, plot):
    for step, body, pointer in BAD_STEPS:
        answer = await operator.post(f"/v1/operator/plots/{plot}/{step}", body)
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid-request"), body
        assert answer.json()["errors"][0]["pointer"] == pointer, body


async def test_steps_that_the_trees_cannot_take_are_conflicts(operator, alice, project, plot):
    path = f"/v1/operator/plots/{plot}"
    for step, body in (
        ("allocate", {"trees": 1}),
        ("planted", {"evidence": []}),
        ("verified", {"evidence": []}),
        ("lost", {"evidence": []}),
    ):
        refused = await operator.post(f"{path}/{step}", body)
        assert (refused.status_code, refused.json()["code"]) == (409, "tree-status")
    await alice.post("/v1/me/pledges", {"project_id": project, "trees": 1}, KEY(1))
    await operator.post(f"{path}/allocate", {"trees": 1})
    assert (await operator.post(f"{path}/verified", {"evidence": []})).status_code == 409
    for _ in range(2):
        assert (await operator.post(f"{path}/planted", {"evidence": []})).status_code == 200


async def test_evidence_is_kept_as_it_was_shown(operator, alice, client, project, plot):
    pledge = await alice.post("/v1/me/pledges", {"project_id": project, "trees": 1}, KEY(1))
    number = pledge.json()["certificates"][0]["number"]
    path = f"/v1/operator/plots/{plot}"
    await operator.post(f"{path}/allocate", {"trees": 1})
    photo = {**PHOTO, "sha256": "AB" * 32, "taken_at": "2026-11-21T10:00:00+08:00"}
    await operator.post(f"{path}/planted", {"evidence": [photo]})
    tree = (await client.get(f"/v1/trees/{number}")).json()
    assert tree["timeline"][-1]["evidence"] == [PHOTO]


async def test_only_operators_with_the_scope_may(client, sign_in, alice, project, plot):
    other = await sign_in("otto", "operator", scope="audit:read")
    for method, path in (
        ("POST", "/v1/operator/projects"),
        ("PATCH", f"/v1/operator/projects/{project}"),
        ("POST", f"/v1/operator/projects/{project}/plots"),
        *(
            ("POST", f"/v1/operator/plots/{plot}/{step}")
            for step in ("allocate", "planted", "verified", "lost")
        ),
    ):
        assert (await client.request(method, path)).status_code == 401
        for caller in (alice, other):
            refused = await client.request(method, path, headers=caller.headers, json={})
            assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")


async def test_unknown_projects_and_plots_are_not_found(operator):
    for nowhere in (uuid7(START), "x"):
        for path, body in (
            (f"projects/{nowhere}/plots", PLOT),
            (f"plots/{nowhere}/allocate", {"trees": 1}),
            (f"plots/{nowhere}/planted", {"evidence": []}),
            (f"plots/{nowhere}/verified", {"evidence": []}),
            (f"plots/{nowhere}/lost", {"evidence": []}),
        ):
            answer = await operator.post(f"/v1/operator/{path}", body)
            assert answer.status_code == 404
        answer = await operator.patch(f"/v1/operator/projects/{nowhere}", {})
        assert answer.status_code == 404
