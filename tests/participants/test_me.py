"""A person's own page: made at the first call, shown and changed by its owner only."""

import asyncio
import hashlib
import hmac
import re
from datetime import datetime, timedelta
from uuid import UUID

import pytest

from service.participants.identities import generated_alias, resolve_participant, subject_key
from tests.people import headers_of, served, settings_for, token_of, walk

NOTHING = {
    "ripening_g": 0,
    "available_g": 0,
    "pledged_g": 0,
    "planted_g": 0,
    "expired_g": 0,
    "arrears_g": 0,
}


async def test_the_first_call_makes_the_participant(client):
    headers = await headers_of(client, "ann@mail.example")
    me = (await client.get("/v1/me", headers=headers)).json()
    assert me["balances"] == NOTHING
    assert me["totals"] == {"earned_g": 0, "saved_g": 0, "trees": 0}
    assert (me["region"], me["visibility"]) == (None, "public")
    assert me["created_at"].endswith("Z")
    assert UUID(me["participant_id"]).version == 4
    # A name that tells nothing of the token's subject.
    assert re.fullmatch(r"[A-Z][a-z]+ [A-Z][a-z]+ [0-9]{4}", me["display_name"])


async def test_who_has_a_book_and_shows_nothing_is_nobody(client, database):
    headers = await headers_of(client, "gil")
    me = (await client.get("/v1/me", headers=headers)).json()["participant_id"]
    await database.pool.execute("DELETE FROM participants WHERE participant_id = $1", UUID(me))
    for answer in (
        await client.get("/v1/me", headers=headers),
        await client.patch("/v1/me", headers=headers, json={"region": "DE-BE"}),
    ):
        assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")


async def test_the_same_subject_is_the_same_participant(client):
    first = (await client.get("/v1/me", headers=await headers_of(client, "ben"))).json()
    again = (await client.get("/v1/me", headers=await headers_of(client, "ben"))).json()
    other = (await client.get("/v1/me", headers=await headers_of(client, "bea"))).json()
    assert again == first
    assert other["participant_id"] != first["participant_id"]


async def test_the_development_token_names_the_participant(client):
    order = {"subject": "cleo", "role": "participant"}
    answers = [(await client.post("/v1/dev/token", json=order)).json() for _ in range(2)]
    headers = {"Authorization": f"Bearer {answers[0]['access_token']}"}
    me = (await client.get("/v1/me", headers=headers)).json()
    assert {answer["participant_id"] for answer in answers} == {me["participant_id"]}


async def test_many_first_calls_at_once_make_one_participant(database, settings):
    now = datetime.fromisoformat("2026-11-21T08:00:00Z")
    found = await asyncio.gather(
        *(
            resolve_participant(database, settings.secret_key, "issuer", "dan", now)
            for _ in range(20)
        )
    )
    assert len(set(found)) == 1
    for table in ("participants", "books"):
        count = await database.pool.fetchval(
            f"SELECT count(*) FROM {table} WHERE participant_id = $1", found[0]
        )
        assert count == 1, table


async def test_a_new_book_is_empty_and_has_a_salt(database, settings):
    now = datetime.fromisoformat("2026-11-21T08:00:00Z")
    found = await resolve_participant(database, settings.secret_key, "issuer", "eve", now)
    book = await database.pool.fetchrow("SELECT * FROM books WHERE participant_id = $1", found)
    assert len(book["salt"]) == 16
    assert (book["seq"], book["issuance"], book["last_at"]) == (0, 0, now)


async def test_nobody_finds_an_identity_without_the_key(database, settings):
    now = datetime.fromisoformat("2026-11-21T08:00:00Z")
    await resolve_participant(database, settings.secret_key, "issuer", "fay", now)
    keys = {row[0] for row in await database.pool.fetch("SELECT subject_key FROM identities")}
    message = b"identity\x00\x00\x00\x06issuerfay"
    key = hmac.digest(settings.secret_key.encode(), message, hashlib.sha256)
    assert subject_key(settings.secret_key, "issuer", "fay") == key
    assert key in keys
    assert subject_key("another key", "issuer", "fay") not in keys
    # Where issuer ends and subject begins is part of it.
    assert subject_key(settings.secret_key, "issuerf", "ay") not in keys


def test_aliases_differ():
    assert len({generated_alias() for _ in range(100)}) > 90


async def test_what_an_action_earns_and_saves_shows(client):
    headers = await headers_of(client, "gus")
    recorded = (await client.post("/v1/me/actions", json=walk(), headers=headers)).json()
    me = (await client.get("/v1/me", headers=headers)).json()
    assert me["balances"] == NOTHING | {"ripening_g": recorded["energy_g"]}
    assert me["totals"] == {
        "earned_g": recorded["energy_g"],
        "saved_g": recorded["saved_g"],
        "trees": 0,
    }
    assert recorded["energy_g"] > 0


async def test_an_adjustment_is_held_but_not_earned(client):
    headers = await headers_of(client, "hal")
    me = (await client.get("/v1/me", headers=headers)).json()
    operator = await headers_of(client, "olga", "operator")
    for amount_g in (500, -200):
        answer = await client.post(
            f"/v1/operator/participants/{me['participant_id']}/adjustments",
            json={"amount_g": amount_g, "reason": "a test"},
            headers=operator,
        )
        assert answer.status_code == 201, answer.text
    me = (await client.get("/v1/me", headers=headers)).json()
    assert me["balances"]["available_g"] == 300
    assert me["totals"]["earned_g"] == 0


async def test_one_field_is_changed_and_the_others_stay(client):
    headers = await headers_of(client, "ida")
    before = (await client.get("/v1/me", headers=headers)).json()
    changes = [
        {"display_name": "Ida 🌳"},
        {"region": "CN-ZJ"},
        {"visibility": "friends"},
        {"takeable": False},
        {},
    ]
    for change in changes:
        answer = await client.patch("/v1/me", json=change, headers=headers)
        assert answer.status_code == 200, answer.text
    shown = {"display_name": "Ida 🌳", "region": "CN-ZJ", "visibility": "friends"}
    assert answer.json() == before | shown
    assert (await client.get("/v1/me", headers=headers)).json() == before | shown
    answer = await client.patch("/v1/me", json={"region": None}, headers=headers)
    assert answer.json()["region"] is None


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"display_name": ""}, "#/display_name"),
        ({"display_name": "   "}, "#/display_name"),
        ({"display_name": "x" * 65}, "#/display_name"),
        ({"display_name": "two\nlines"}, "#/display_name"),
        ({"display_name": "line\n"}, "#/display_name"),
        ({"display_name": "a\0b"}, "#/display_name"),
        ({"display_name": None}, "#/display_name"),
        ({"region": "Zhejiang"}, "#/region"),
        ({"region": "cn-zj"}, "#/region"),
        ({"region": "CN-ZJ\n"}, "#/region"),
        ({"region": ""}, "#/region"),
        ({"visibility": "secret"}, "#/visibility"),
        ({"visibility": None}, "#/visibility"),
        ({"takeable": "yes"}, "#/takeable"),
        ({"participant_id": "01980000-0000-7000-8000-000000000000"}, "#/participant_id"),
        ({"balances": {"available_g": 1_000_000}}, "#/balances"),
    ],
    ids=lambda value: str(value)[:40],
)
async def test_what_cannot_be_shown_is_refused_and_changes_nothing(client, change, pointer):
    headers = await headers_of(client, "jim")
    before = (await client.get("/v1/me", headers=headers)).json()
    good = {"display_name": "Jim", "region": "CN-ZJ"}
    answer = await client.patch("/v1/me", json=good | change, headers=headers)
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, pointer)
    assert (await client.get("/v1/me", headers=headers)).json() == before


REFUSED = ["\u200b", "\u200b\u200b", "\ufeff", "\u00a0", "\u3164", "\u00ad", "\u202eevil"]
REFUSED += ["\u2066x\u2069", "x\u2028y", "\U000e0041", "x\ny", " ", "\ufe0f", "\u0301", "ﷺ" * 64]
REFUSED += ["\u2800", "\u2800\u2800 \u2800", "\ufffc", "x\u2800", "\U0001d159", "\U00013441"]
SHOWN = {name: name for name in ("Ada", "小明", "Zoë", "مريم", "😀 Ada", "O'Neill", "山田 太郎")}
SHOWN |= {
    " Ada  Lovelace ": "Ada Lovelace",
    "e\u0301": "é",
    "Ada ❤\ufe0f": "Ada ❤",
    "ＡＤＡ": "ADA",
}


@pytest.mark.parametrize("name", REFUSED, ids=lambda name: ascii(name)[:20])
async def test_a_name_that_nobody_can_read_is_refused_with_words(client, name):
    headers = await headers_of(client, "jim")
    answer = await client.patch("/v1/me", json={"display_name": name}, headers=headers)
    assert answer.status_code == 422
    (error,) = answer.json()["errors"]
    assert error["pointer"] == "#/display_name"
    assert error["detail"].startswith("must ")
    assert error["detail"].isprintable()


@pytest.mark.parametrize("code", [0x3164, 0xFFA0, 0x2800, 0xFFFC, 0x3131, 0x200B, 0x0A, 0x1D159])
async def test_a_refused_name_is_told_the_character_that_was_typed(client, code):
    """Its normal form may hold another one, which nobody would find in what they wrote."""
    headers = await headers_of(client, "jim")
    name = f"Jim {chr(code)} Jim"
    answer = await client.patch("/v1/me", json={"display_name": name}, headers=headers)
    (error,) = answer.json()["errors"]
    assert error["detail"] == f"must not hold the character U+{code:04X}"


@pytest.mark.parametrize("name", SHOWN, ids=ascii)
async def test_a_name_is_kept_in_its_normal_form_and_found_by_any(client, operator, name):
    headers = await headers_of(client, "jim")
    answer = await client.patch("/v1/me", json={"display_name": name}, headers=headers)
    assert answer.json()["display_name"] == SHOWN[name]
    found = await operator.get("/v1/operator/participants", alias=name)
    assert [item["display_name"] for item in found.json()["items"]] == [SHOWN[name]]


async def test_an_erasure_in_one_process_is_known_in_the_others_at_once(
    servers, database_url, tmp_path
):
    settings = settings_for(servers, database_url, tmp_path)
    async with served(settings) as here, served(settings) as there:
        headers = {"Authorization": f"Bearer {await token_of(here, 'kim')}"}
        old = (await here.get("/v1/me", headers=headers)).json()
        assert (await there.get("/v1/me", headers=headers)).json() == old
        assert (await here.delete("/v1/me", headers=headers)).status_code == 204
        async with asyncio.timeout(5):
            while (answer := await there.get("/v1/me", headers=headers)).status_code == 503:
                assert int(answer.headers["retry-after"]) > 0
        assert answer.json()["participant_id"] != old["participant_id"]
        assert (await here.get("/v1/me", headers=headers)).json() == answer.json()


async def test_the_clock_of_the_programme_dates_what_is_made(servers, database_url, tmp_path):
    async with served(settings_for(servers, database_url, tmp_path)) as client:
        moved = (await client.post("/v1/dev/clock", json={"advance_s": 86_400 * 30})).json()
        me = (await client.get("/v1/me", headers=await headers_of(client, "lea"))).json()
    made = datetime.fromisoformat(me["created_at"])
    assert abs(made - datetime.fromisoformat(moved["now"])) < timedelta(minutes=1)
