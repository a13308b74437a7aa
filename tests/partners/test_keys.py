"""Keys of partners: rotated without a gap, revoked at once, useless in a stolen table."""

import asyncio
import base64
import itertools
import secrets
import time
import uuid
from datetime import UTC, datetime, timedelta
from time import monotonic

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from kit.partner.signing import sign_ed25519, sign_hmac, signed_headers
from service.partners.envelope import EnvelopeError, Sealed, master_keys, rewrap, seal, unseal
from service.partners.keys import PartnerKeys, SignatureRefusedError
from service.partners.signature import public_text, read_secret, read_stamp
from service.platform.clock import Clock
from service.platform.settings import Settings
from tests.callers import items_of, saxaul, sign_in
from tests.partners.sender import BATCH, Sender, make_key
from tests.people import eventually

_SECRETS = "SELECT sealed_key, sealed_secret FROM partner_keys WHERE kind = 'hmac'"


def master_text():
    return base64.b64encode(secrets.token_bytes(32)).decode()


async def shown(operator, partner_id):
    answer = await operator.get(f"/v1/operator/partners/{partner_id}")
    assert answer.status_code == 200, answer.text
    return answer.json()


async def status(sender, **stamp):
    """Whether a signature is believed: an empty list is refused for what it says only."""
    return (await sender.post([], **stamp)).status_code == 422


async def test_a_partner_is_opened_and_changed(operator, name):
    body = {
        "id": name,
        "name": "City metro",
        "action_types": ["transit.metro_trip", "transit.bus_trip"],
        "source_prefix": "urn:city",
    }
    made = await operator.post("/v1/operator/partners", body)
    assert made.status_code == 201
    told = made.json()
    assert told["keys"] == []
    assert not told["disabled"]
    assert (await operator.post("/v1/operator/partners", body)).status_code == 409
    path = f"/v1/operator/partners/{name}"
    changed = await operator.patch(path, {"name": "Metro", "action_types": ["transit.bus_trip"]})
    assert changed.json()["name"] == "Metro"
    assert changed.json()["action_types"] == ["transit.bus_trip"]
    assert changed.json()["source_prefix"] == "urn:city"
    assert await shown(operator, name) == changed.json()
    listed = await items_of(operator, "/v1/operator/partners", limit=1)
    assert changed.json() in listed
    acts = await items_of(operator, "/v1/operator/audit-log")
    mine = [act["act"] for act in acts if act["object"] == name]
    assert mine == ["partner.change", "partner.create"]


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"id": "City"}, "#/id"),
        ({"id": "-x"}, "#/id"),
        ({"id": "x" * 64}, "#/id"),
        ({"id": "city\n"}, "#/id"),
        ({"name": ""}, "#/name"),
        ({"source_prefix": ""}, "#/source_prefix"),
        ({"source_prefix": "a b"}, "#/source_prefix"),
        ({"source_prefix": "urn:city\n"}, "#/source_prefix"),
        ({"action_types": [""]}, "#/action_types/0"),
        ({"colour": "red"}, "#/colour"),
    ],
)
async def test_a_partner_must_be_well_formed(operator, name, change, pointer):
    body = {"id": name, "name": "n", "action_types": [], "source_prefix": "p"} | change
    answer = await operator.post("/v1/operator/partners", body)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == pointer


async def test_only_operators_of_partners_may(client, metro):
    someone = await sign_in(client, "someone")
    auditor = await sign_in(client, "auditor", "operator", scope="audit:read")
    for who in (someone, auditor):
        for path in ("/v1/operator/partners", f"/v1/operator/partners/{metro.id}"):
            assert (await who.get(path)).status_code == 403
        assert (await who.get("/v1/operator/parked-events")).status_code == 403
        path = f"/v1/operator/partners/{metro.id}/keys"
        assert (await who.post(path, {"kind": "hmac"})).status_code == 403


@pytest.mark.parametrize("partner_id", ["nobody", "No-Body", "%00"])
async def test_unknown_partners_are_not_there(operator, partner_id):
    path = f"/v1/operator/partners/{partner_id}"
    assert (await operator.get(path)).status_code == 404
    assert (await operator.patch(path, {"name": "x"})).status_code == 404
    assert (await operator.post(f"{path}/keys", {"kind": "hmac"})).status_code == 404
    revoke = f"{path}/keys/{uuid.uuid4()}/revoke"
    assert (await operator.post(revoke)).status_code == 404


async def test_the_secret_is_shown_once(operator, metro, database):
    key = await make_key(operator, metro.id)
    assert set(key) == {"key_id", "kind", "secret", "state"}
    assert key["state"] == "active"
    assert len(read_secret(key["secret"])) == 32
    assert key["secret"] not in str(await shown(operator, metro.id))
    row = await database.pool.fetchrow(
        "SELECT * FROM partner_keys WHERE id = $1", uuid.UUID(key["key_id"])
    )
    assert read_secret(key["secret"]) not in row["sealed_secret"] + row["sealed_key"]


async def test_keys_overlap_while_they_are_changed(operator, metro):
    second = await make_key(operator, metro.id)
    newer = Sender(metro.client, metro.id, second["secret"], metro.source)
    assert await status(metro)
    assert await status(newer)
    first = (await shown(operator, metro.id))["keys"][-1]
    path = f"/v1/operator/partners/{metro.id}/keys/{first['key_id']}"
    retiring = await operator.post(f"{path}/retire", {"overlap_s": 3600})
    assert retiring.json()["state"] == "retiring"
    assert await status(metro)
    ended = await operator.post(f"{path}/retire", {"overlap_s": 0})
    assert ended.json()["state"] == "revoked"

    async def is_revoked():
        return not await status(metro)

    await eventually(is_revoked)  # processes hear of it a moment later
    assert await status(newer)


async def test_both_signatures_in_one_header(operator, metro):
    other = b"a secret of the partner's next key"
    at, body = int(time.time()), b"[]"
    entries = [sign_hmac(key, "m", at, body) for key in (other, metro.secret)]
    headers = signed_headers("m", at, entries) | {"content-type": BATCH}
    path = f"/v1/partners/{metro.id}/events"
    assert (await metro.client.post(path, content=body, headers=headers)).status_code == 422


async def test_a_key_may_wait_for_its_time(operator, metro):
    later = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    key = await make_key(operator, metro.id, not_before=later)
    assert key["state"] == "pending"
    assert not await status(Sender(metro.client, metro.id, key["secret"], ""))


async def test_three_keys_at_once_and_no_more(operator, metro):
    keys = [await make_key(operator, metro.id) for _ in range(2)]
    path = f"/v1/operator/partners/{metro.id}/keys"
    assert (await operator.post(path, {"kind": "hmac"})).status_code == 409
    assert (await operator.post(f"{path}/{keys[0]['key_id']}/revoke")).status_code == 200
    again = await operator.post(f"{path}/{keys[0]['key_id']}/revoke")
    assert (again.status_code, again.json()["state"]) == (200, "revoked")
    assert (await operator.post(path, {"kind": "hmac"})).status_code == 201


async def test_an_asymmetric_key_needs_no_secret_of_ours(operator, metro):
    private = Ed25519PrivateKey.generate()
    public = public_text(private.public_key().public_bytes_raw())
    path = f"/v1/operator/partners/{metro.id}/keys"
    for order in (
        {"kind": "ed25519"},
        {"kind": "ed25519", "public_key": "whpk_AAAA"},
        {"kind": "ed25519", "public_key": "ä"},
        {"kind": "hmac", "public_key": public},
    ):
        answer = await operator.post(path, order)
        assert answer.status_code == 422
        assert answer.json()["errors"][0]["pointer"] == "#/public_key"
    made = await operator.post(path, {"kind": "ed25519", "public_key": public})
    assert made.status_code == 201
    assert "secret" not in made.json()
    at, body = int(time.time()), b"[]"
    headers = signed_headers("m", at, [sign_ed25519(private, "m", at, body)])
    events = f"/v1/partners/{metro.id}/events"
    headers["content-type"] = BATCH
    assert (await metro.client.post(events, content=body, headers=headers)).status_code == 422
    assert (await metro.client.post(events, content=b"[ ]", headers=headers)).status_code == 401
    assert (await shown(operator, metro.id))["keys"][0]["public_key"] == public


async def test_every_process_follows(operator, metro, other_client):
    """A new key works at once, a revoked one no longer, in the process that did not do it, too."""
    there = Sender(other_client, metro.id, "whsec_" + "A" * 43 + "=", metro.source)
    there.secret = metro.secret
    assert await status(there)
    key = await make_key(operator, metro.id)
    newer = Sender(other_client, metro.id, key["secret"], metro.source)
    assert await status(newer)
    path = f"/v1/operator/partners/{metro.id}/keys/{key['key_id']}/revoke"
    assert (await operator.post(path)).status_code == 200
    assert not await status(Sender(metro.client, metro.id, key["secret"], metro.source))

    async def is_revoked():
        return not await status(newer)

    await eventually(is_revoked)
    assert await status(there)
    assert (
        await operator.patch(f"/v1/operator/partners/{metro.id}", {"disabled": True})
    ).status_code == 200

    async def is_disabled():
        return not await status(there)

    await eventually(is_disabled)


async def test_a_lost_word_is_made_up_for(operator, metro, database, settings, monkeypatch):
    """Without any notification a process believes a revoked key for some seconds only."""
    masters = master_keys(msgspec.structs.replace(settings, master_key=_kept_master(settings)))
    deaf = PartnerKeys(database, Clock(), masters)
    stamp = read_stamp([(k.encode(), v.encode()) for k, v in metro.stamp(b"x").items()])
    now_s = monotonic()
    monkeypatch.setattr("service.partners.keys.monotonic", lambda: now_s)
    assert (await deaf.verify(metro.id, stamp, b"x")).id == metro.id
    (key,) = (await shown(operator, metro.id))["keys"]
    await operator.post(f"/v1/operator/partners/{metro.id}/keys/{key['key_id']}/revoke")
    assert (await deaf.verify(metro.id, stamp, b"x")).id == metro.id
    now_s += 5.1
    with pytest.raises(SignatureRefusedError):
        await deaf.verify(metro.id, stamp, b"x")


def _kept_master(settings):
    return (settings.home / "master-key").read_text().strip()


async def test_strangers_do_not_make_a_process_ask_for_ever(database, settings, metro, monkeypatch):
    began_s, ticks = monotonic(), itertools.count()
    monkeypatch.setattr("service.partners.keys.monotonic", lambda: began_s + next(ticks) / 1_000)
    masters = master_keys(msgspec.structs.replace(settings, master_key=_kept_master(settings)))
    keys = PartnerKeys(database, Clock(), masters)
    stamp = read_stamp(
        [(k.encode(), v.encode()) for k, v in metro.stamp(b"x", secret=b"w" * 32).items()]
    )
    for _ in range(200):
        with pytest.raises(SignatureRefusedError):
            await keys.verify(metro.id, stamp, b"x")
    assert keys._looks < 2


async def test_last_use_is_shown(operator, metro):
    assert await status(metro)

    async def is_noted():
        (key,) = (await shown(operator, metro.id))["keys"]
        return key["last_used_at"] is not None

    await eventually(is_noted)


async def test_a_use_that_could_not_be_noted_is_noted_later(metro, operator, database, settings):
    masters = master_keys(msgspec.structs.replace(settings, master_key=_kept_master(settings)))
    keys = PartnerKeys(database, Clock(), masters)
    stamp = read_stamp([(k.encode(), v.encode()) for k, v in metro.stamp(b"x").items()])
    await keys.verify(metro.id, stamp, b"x")
    await database.pool.execute("ALTER TABLE partner_keys RENAME TO keys_of_partners")
    await note_use(keys)
    await database.pool.execute("ALTER TABLE keys_of_partners RENAME TO partner_keys")
    await note_use(keys)
    (key,) = (await shown(operator, metro.id))["keys"]
    assert key["last_used_at"] is not None


async def note_use(keys):
    """What a process does at its end, too."""
    running = asyncio.create_task(keys.run())
    await asyncio.sleep(0)
    running.cancel()
    await asyncio.wait([running])


def test_a_sealed_secret_opens_in_its_place_only():
    masters = master_keys(Settings(master_key=master_text()))
    sealed = seal(masters, b"a secret", "metro|1|1")
    assert unseal(masters, sealed, "metro|1|1") == b"a secret"
    with pytest.raises(EnvelopeError):
        unseal(masters, sealed, "bus|1|1")
    other = seal(masters, b"another", "metro|1|1")
    with pytest.raises(EnvelopeError):
        unseal(masters, Sealed(other.secret, sealed.key, sealed.master_key_id), "metro|1|1")
    with pytest.raises(EnvelopeError):
        unseal(master_keys(Settings(master_key=master_text())), sealed, "metro|1|1")


def test_a_new_master_key_opens_what_was_rewrapped():
    old, new = master_text(), master_text()
    before = seal(master_keys(Settings(master_key=old)), b"a secret", "c")
    both = master_keys(Settings(master_key=new, master_key_before=old))
    after = rewrap(both, before, "c")
    assert unseal(both, before, "c") == unseal(both, after, "c") == b"a secret"
    only_new = master_keys(Settings(master_key=new))
    assert unseal(only_new, after, "c") == b"a secret"
    with pytest.raises(EnvelopeError):
        unseal(only_new, before, "c")


async def test_rewrap_from_the_command_line(operator, metro, database, settings):
    before = await database.pool.fetch(_SECRETS)
    old = _kept_master(settings)
    path = settings.home / "master-key"
    try:
        path.write_text(master_text() + "\n")
        code, printed, errors = await saxaul(settings, "keys", "rewrap")
        assert code == 1
        assert "0 secrets" in printed
        assert "lies under master key" in errors
        new = path.read_text().strip()
        code, printed, errors = await saxaul(
            settings, "keys", "rewrap", environment={"SAXAUL_MASTER_KEY_BEFORE": old}
        )
        assert (code, errors) == (0, "")
        assert f"{len(before)} secrets lie under the current master key now" in printed
        after = await database.pool.fetch(_SECRETS)
        assert {row["sealed_secret"] for row in before} == {row["sealed_secret"] for row in after}
        assert not {row["sealed_key"] for row in before} & {row["sealed_key"] for row in after}
        masters = master_keys(Settings(master_key=new))
        keys = PartnerKeys(database, Clock(), masters)
        stamp = read_stamp([(k.encode(), v.encode()) for k, v in metro.stamp(b"x").items()])
        assert (await keys.verify(metro.id, stamp, b"x")).id == metro.id
    finally:
        back = await saxaul(
            settings,
            "keys",
            "rewrap",
            environment={
                "SAXAUL_MASTER_KEY": old,
                "SAXAUL_MASTER_KEY_BEFORE": path.read_text().strip(),
            },
        )
        path.write_text(old + "\n")
    assert back[0] == 0
