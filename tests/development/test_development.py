"""Development's conveniences: tokens for the asking, and a clock that moves for every process."""

import asyncio
import json
import sys
from datetime import datetime, timedelta

import jwt
import pytest

from service.http.auth import SCOPES
from tests.people import eventually, headers_of, served, token_of
from tests.processes import Instance

ENOUGH = timedelta(seconds=30)


async def now_of(client):
    return datetime.fromisoformat((await client.get("/v1/dev/clock")).json()["now"])


async def has_reached(client, moment):
    return await now_of(client) >= moment


def read(token):
    return jwt.decode(token, options={"verify_signature": False})


async def test_an_operator_gets_all_scopes_by_default(client):
    claims = read(await token_of(client, "olga", "operator"))
    assert claims["scope"].split() == list(SCOPES)
    assert claims["exp"] - claims["iat"] == 86_400
    claims = read(await token_of(client, "olga", "operator", scope="audit:read rules:write"))
    assert claims["scope"] == "audit:read rules:write"


async def test_a_participant_gets_no_scope(client):
    order = {"subject": "alice", "role": "participant", "scope": "rules:write"}
    answer = (await client.post("/v1/dev/token", json=order)).json()
    assert "scope" not in read(answer["access_token"])


@pytest.mark.parametrize(
    ("order", "pointer"),
    [
        ({"role": "participant"}, "#/subject"),
        ({"subject": "", "role": "participant"}, "#/subject"),
        ({"subject": "x" * 256, "role": "participant"}, "#/subject"),
        ({"subject": "alice", "role": "admin"}, "#/role"),
        ({"subject": "alice", "role": "operator", "scope": "all:of-them"}, "#/scope"),
    ],
    ids=lambda value: str(value)[:40],
)
async def test_an_order_for_nobody_is_refused(client, order, pointer):
    answer = await client.post("/v1/dev/token", json=order)
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, pointer)


async def test_the_clock_moves_forward_and_goes_on_ticking(client):
    began = await now_of(client)
    moved = await client.post("/v1/dev/clock", json={"advance_s": 86_400})
    assert moved.status_code == 200
    now = await now_of(client)
    assert timedelta(days=1) <= now - began < timedelta(days=1) + ENOUGH
    assert datetime.fromisoformat(moved.json()["now"]) <= now < await now_of(client)


async def test_the_clock_is_set_to_a_time_in_any_zone(client):
    wanted = (await now_of(client) + timedelta(days=2)).replace(microsecond=0)
    shifted = wanted.astimezone().isoformat()
    await client.post("/v1/dev/clock", json={"now": shifted})
    assert wanted <= await now_of(client) < wanted + ENOUGH


@pytest.mark.parametrize("move", [{"advance_s": -1}, {"now": "2020-01-01T00:00:00Z"}])
async def test_the_clock_never_goes_back(client, move):
    before = await now_of(client)
    answer = await client.post("/v1/dev/clock", json=move)
    assert (answer.status_code, answer.json()["code"]) == (409, "clock-moves-forward-only")
    assert before <= await now_of(client) < before + ENOUGH


@pytest.mark.parametrize(
    ("move", "pointer"),
    [
        ({}, "#"),
        ({"advance_s": 1, "now": "2030-01-01T00:00:00Z"}, "#"),
        ({"advance_s": 0.5}, "#/advance_s"),
        ({"advance_s": 10**30}, "#/advance_s"),
        ({"advance_s": 200 * 365 * 86_400}, "#/advance_s"),
        ({"advance_s": 173 * 366 * 86_400}, "#/advance_s"),
        ({"now": "2200-01-01T00:00:00Z"}, "#/now"),
        ({"now": "2030-01-01T00:00:00"}, "#/now"),
    ],
    ids=lambda value: str(value)[:40],
)
async def test_a_move_to_nowhere_is_refused(client, move, pointer):
    answer = await client.post("/v1/dev/clock", json=move)
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, pointer)


async def test_all_processes_share_the_clock_and_it_survives_a_restart(settings):
    async with served(settings) as here, served(settings) as there:
        await here.post("/v1/dev/clock", json={"advance_s": 86_400 * 3})
        here_now = await now_of(here)
        await eventually(lambda: has_reached(there, here_now))
    async with served(settings) as again:
        assert here_now <= await now_of(again) < here_now + ENOUGH


async def test_a_process_whose_listening_connection_broke_learns_of_the_clock_again(
    settings, database
):
    async with served(settings) as here, served(settings) as there:
        await database.pool.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            " AND (query LIKE 'LISTEN%' OR query LIKE '%development_clock%')"
        )
        await here.post("/v1/dev/clock", json={"advance_s": 86_400 * 3})
        here_now = await now_of(here)
        await eventually(lambda: has_reached(there, here_now))


async def test_moves_at_once_add_up(client):
    began = await now_of(client)
    await asyncio.gather(
        *(client.post("/v1/dev/clock", json={"advance_s": 3_600}) for _ in range(10))
    )
    assert timedelta(hours=10) <= await now_of(client) - began < timedelta(hours=10) + ENOUGH


async def test_tokens_go_by_real_time_whatever_the_clock_says(client):
    headers = await headers_of(client, "alice")
    await client.post("/v1/dev/clock", json={"advance_s": 86_400 * 365})
    assert (await client.get("/v1/me", headers=headers)).status_code == 200


async def run_command(home, *arguments, **environment):
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "service",
        *arguments,
        env={"SAXAUL_HOME": str(home), "PATH": "/usr/bin:/bin"} | environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    return process.returncode, out.decode().strip(), err.decode().strip()


@pytest.mark.real_processes
async def test_a_token_of_the_command_line_is_believed_by_the_api(client, settings):
    code, token, _ = await run_command(settings.home, "dev", "token", "alice")
    assert code == 0
    headers = {"Authorization": f"Bearer {token}"}
    mine = (await client.get("/v1/me", headers=headers)).json()
    assert mine == (await client.get("/v1/me", headers=await headers_of(client, "alice"))).json()


async def test_the_command_line_gives_no_token_off_this_machine(settings):
    code, out, err = await run_command(
        settings.home, "dev", "token", "alice", SAXAUL_HOST="0.0.0.0"
    )
    assert (code, out) == (1, "")
    assert err.count("\n") == 0
    assert "loopback" in err


@pytest.fixture
def desk(settings):
    """Where the commands of this module's instance are typed."""
    names = ("database_url", "redis_url", "redis_prefix", "secret_key")
    return Instance(settings.home, **{name: getattr(settings, name) for name in names})


@pytest.fixture
def running(desk):
    desk.start()
    yield desk
    desk.end()


def curl(instance, *words):
    done = instance.type("dev", "curl", *words)
    return done.returncode, done.stdout, done.stderr


def test_the_api_is_asked_by_its_path_alone(running, tmp_path):
    code, out, _ = curl(running, "/v1/me")
    assert code == 0
    mine = json.loads(out)
    assert out.startswith('{\n  "participant_id"')
    code, out, _ = curl(running, "v1/me", "-X", "PATCH", "-d", '{"region": "CN-ZJ"}', "--as", "ben")
    assert (code, json.loads(out)["region"]) == (0, "CN-ZJ")
    assert json.loads(out)["participant_id"] != mine["participant_id"]
    order = tmp_path / "order.json"
    order.write_text('{"advance_s": 60}')
    code, out, _ = curl(running, "/v1/dev/clock", "-d", f"@{order}")
    assert (code, list(json.loads(out))) == (0, ["now"])
    key = ("-H", "Idempotency-Key: the-same-key-twice")
    for _ in range(2):
        code, out, _ = curl(running, "/v1/me/bubbles/collect", "-X", "POST", *key)
        assert (code, json.loads(out)["collected_g"]) == (0, 0)
    code, out, _ = curl(running, "/v1/operator/partners", "--operator")
    assert (code, "items" in json.loads(out)) == (0, True)
    assert curl(running, "/health/live")[0] == 0


def test_what_is_no_success_ends_with_its_status(running):
    code, out, err = curl(running, "/v1/operator/partners")
    assert (code, json.loads(out)["code"], err) == (1, "forbidden", "Error: 403 Forbidden\n")


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["/v1/me"], 1, "does not answer"),
        (["/v1/me", "-H", "colour"], 2, "'colour' is no header"),
        (["/v1/me", "-d", "@/nowhere/body"], 2, "/nowhere/body: No such file"),
        (["/v1/me", "--as", " "], 2, "cannot be empty"),
    ],
)
def test_what_keeps_it_from_asking_is_one_line(client, desk, words, code, told):
    """Nobody listens there: this module's application answers in this process alone."""
    ended, out, err = curl(desk, *words)
    assert (ended, out) == (code, "")
    assert told in err.splitlines()[-1]
