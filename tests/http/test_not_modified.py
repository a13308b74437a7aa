"""Public answers that seldom change: not sent again to whoever has them, compressed if asked."""

import gzip

import pytest

from tests.callers import advance, sign_in
from tests.people import served, settings_for

PROJECT = {
    "name": "Alxa north",
    "species": "Haloxylon ammodendron",
    "place": "Alxa",
    "country": "CN",
    "partner": "Green Desert",
    "price_g": 100,
    "capacity": 1_000,
}
SELDOM = ("/v1/action-types", "/v1/program", "/v1/projects", "/schema", "/schema/openapi.json")


@pytest.fixture(scope="module")
async def client(servers, database_url, tmp_path_factory):
    home = tmp_path_factory.mktemp("home")
    async with served(settings_for(servers, database_url, home)) as made:
        yield made


@pytest.fixture(scope="module")
async def project(client):
    olga = await sign_in(client, "olga", "operator")
    answer = await olga.post("/v1/operator/projects", PROJECT)
    assert answer.status_code == 201, answer.text
    return answer.json()["id"]


@pytest.mark.parametrize("path", [*SELDOM, "/v1/projects/{project}", "/schema/page.js"])
async def test_whoever_has_it_is_told_so(client, project, path):
    path = path.format(project=project)
    first = await client.get(path)
    tag = first.headers["etag"]
    assert first.headers["cache-control"] == "no-cache"
    for known in (tag, f'"other", {tag}', tag.removeprefix("W/"), "*"):
        again = await client.get(path, headers={"If-None-Match": known})
        assert (again.status_code, again.content) == (304, b""), known
        assert again.headers["etag"] == tag
        assert again.headers.get("vary") == first.headers.get("vary")
        assert "content-type" not in again.headers
    for unknown in ('"other"', "", 'W/"', tag.strip('W/"')):
        again = await client.get(path, headers={"If-None-Match": unknown})
        assert (again.status_code, again.headers["etag"]) == (200, tag), unknown
    head = await client.head(path, headers={"If-None-Match": tag})
    assert (head.status_code, head.content) == (304, b"")


@pytest.mark.parametrize("path", [path for path in SELDOM if path != "/v1/program"])
async def test_it_is_compressed_for_whoever_reads_that(client, project, path):
    plain = await client.get(path, headers={"Accept-Encoding": "identity"})
    assert "content-encoding" not in plain.headers
    assert "Accept-Encoding" in plain.headers["vary"]
    for accepted in ("gzip", "br;q=1.0, gzip;q=0.8", "GZIP", "deflate,gzip ; q=0.1"):
        packed = await client.send(
            client.build_request("GET", path, headers={"Accept-Encoding": accepted}), stream=True
        )
        raw = b"".join([part async for part in packed.aiter_raw()])
        is_long = len(plain.content) > 1_000
        assert (packed.headers.get("content-encoding") == "gzip") == is_long, accepted
        assert int(packed.headers["content-length"]) == len(raw)
        assert (gzip.decompress(raw) if is_long else raw) == plain.content
        assert packed.headers["etag"] == plain.headers["etag"]
    for refused in ("gzip;q=0", "gzip; q=0.000, br", "x-gzip", "br"):
        answer = await client.get(path, headers={"Accept-Encoding": refused})
        assert "content-encoding" not in answer.headers, refused


async def test_the_catalogue_is_a_third_of_its_size_on_the_wire(client):
    packed = await client.get("/v1/action-types", headers={"Accept-Encoding": "gzip"})
    assert int(packed.headers["content-length"]) * 3 < len(packed.content)


async def test_another_language_or_page_is_another_answer(client):
    tags = {
        (await client.get("/v1/action-types", params=query, headers=headers)).headers["etag"]
        for query in ({}, {"limit": 1})
        for headers in ({}, {"Accept-Language": "zh"})
    }
    assert len(tags) == 4
    vary = (await client.get("/v1/action-types")).headers["vary"]
    assert vary == "Accept-Encoding, Accept-Language"


async def test_what_has_changed_is_sent(client, project):
    olga = await sign_in(client, "olga", "operator")
    known = {
        path: {"If-None-Match": (await client.get(path)).headers["etag"]}
        for path in ("/v1/projects", f"/v1/projects/{project}", "/v1/program")
    }
    changed = await olga.patch(f"/v1/operator/projects/{project}", {"capacity": 1_001})
    assert changed.status_code == 200
    # The terms are the same, though it is later now.
    await advance(client, minutes=1)
    assert (await client.get("/v1/program", headers=known.pop("/v1/program"))).status_code == 304
    for path, headers in known.items():
        answer = await client.get(path, headers=headers)
        assert answer.status_code == 200
        assert answer.json().get("capacity", 1_001) == 1_001


async def test_what_is_somebodys_own_is_neither_kept_nor_compressed(client):
    alice = await sign_in(client, "alice")
    alice.headers["Accept-Encoding"] = "gzip"
    for path in ("/v1/me", "/v1/me/suggestions", "/v1/me/export", "/v1/me/actions"):
        answer = await alice.get(path)
        assert answer.headers["cache-control"] == "no-store"
        assert not {"etag", "content-encoding"} & set(answer.headers)
