"""What those see who run the service: health, figures, headers, and answers when parts are away."""

import asyncio
import json
from functools import cache

import asyncpg
import msgspec
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.logs import logging_as_served
from tests.people import client_of, eventually, headers_of, running_app, served, settings_for, walk
from tests.processes import PATIENCE_S


@pytest.fixture
def settings(servers, fresh_database_url, tmp_path):
    return settings_for(servers, fresh_database_url, tmp_path / "home")


@pytest.fixture(scope="module")
async def client(servers, database_url, tmp_path_factory):
    """A client of an application that nothing is away from."""
    home = tmp_path_factory.mktemp("home")
    async with served(settings_for(servers, database_url, home)) as made:
        yield made


async def test_without_rules_the_process_lives_but_is_not_ready(settings):
    async with running_app(settings) as app, client_of(app) as client:
        assert (await client.get("/health/live")).json() == {"status": "live", "parts": {}}
        answer = await client.get("/health/ready")
        assert answer.status_code == 503
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["parts"]["rulebook"] == "missing"
        assert int(answer.headers["retry-after"]) > 0


async def test_with_migrations_and_rules_it_is_ready(client):
    answer = await client.get("/health/ready")
    assert answer.status_code == 200
    assert answer.json()["parts"] == {"migrations": "ok", "rulebook": "ok", "redis": "ok"}


async def test_a_database_of_another_version_is_not_ready(settings, database):
    async with served(settings) as client:
        await database.pool.execute("UPDATE alembic_version SET version_num = 'older'")
        answer = await client.get("/health/ready")
        assert (answer.status_code, answer.json()["parts"]["migrations"]) == (503, "missing")


async def test_redis_may_be_away(settings, unused_tcp_port):
    away = settings_for_redis(settings, f"redis://127.0.0.1:{unused_tcp_port}")
    async with served(away) as client:
        answer = await client.get("/health/ready")
        assert (answer.status_code, answer.json()["parts"]["redis"]) == (200, "away")
        headers = await headers_of(client, "alice")
        answer = await client.post("/v1/me/actions", json=walk(), headers=headers)
        assert answer.status_code == 201
        answer = await client.get("/v1/leaderboards/energy", headers=headers)
        assert answer.status_code == 503
        assert answer.headers["content-type"] == "application/problem+json"


async def test_a_redis_that_never_answers_holds_nobody(settings):
    async def keep_still(reader, writer):
        await reader.read()
        writer.close()

    async with await asyncio.start_server(keep_still, "127.0.0.1", 0) as server:
        host, port = server.sockets[0].getsockname()
        async with served(settings_for_redis(settings, f"redis://{host}:{port}")) as client:
            headers = await headers_of(client, "alice")
            path = "/v1/leaderboards/energy/me"
            asking = [client.get(path, headers=headers) for _ in range(256)]
            answers = await asyncio.wait_for(asyncio.gather(*asking), PATIENCE_S)
    assert {answer.status_code for answer in answers} == {503}


def settings_for_redis(settings, url):
    return msgspec.structs.replace(settings, redis_url=url)


async def test_while_the_database_is_away_requests_are_told_to_come_again(settings):
    async with served(settings) as client:
        headers = await headers_of(client, "alice")
        name = settings.database_url.partition("?")[0].rpartition("/")[2]
        admin = await asyncpg.connect(settings.database_url.replace(name, "postgres"))
        try:
            await admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
            await admin.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", name
            )
            for method, path, body in (
                ("GET", "/v1/me", None),
                ("GET", "/v1/me/bubbles", None),
                ("POST", "/v1/me/bubbles/collect", None),
                ("POST", "/v1/me/actions", walk()),
                ("GET", "/health/ready", None),
            ):
                answer = await client.request(method, path, json=body, headers=headers)
                assert (answer.status_code, answer.json()["code"]) == (503, "unavailable"), path
                assert int(answer.headers["retry-after"]) > 0
            assert (await client.get("/health/live")).status_code == 200
            await admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
        finally:
            await admin.close()

        async def is_back():
            return (await client.get("/v1/me", headers=headers)).status_code == 200

        await eventually(is_back)
        answer = await client.post("/v1/me/actions", json=walk(), headers=headers)
        assert answer.status_code == 201


@cache
def samples_of(text):
    """All samples of a page of figures."""
    return [sample for family in text_string_to_metric_families(text) for sample in family.samples]


def requests_counted(text):
    """How many requests the figures tell, by method, route and status."""
    return {
        (
            sample.labels["http_request_method"],
            sample.labels["http_route"],
            sample.labels["http_response_status_code"],
        ): sample.value
        for sample in samples_of(text)
        if sample.name == "http_server_request_duration_seconds_count"
    }


async def test_requests_are_counted_by_template_never_by_id(client):
    headers = await headers_of(client, "alice")
    before = requests_counted((await client.get("/metrics")).text)
    for number in range(3):
        await client.get(f"/v1/me/actions/{number}", headers=headers)
        await client.get(f"/nothing/{number}")
        await client.request("BREW", "/v1/me")
    answer = await client.get("/metrics")
    after = requests_counted(answer.text)
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    grown = {key: after[key] - before.get(key, 0) for key in after if after[key] != before.get(key)}
    assert grown.pop(("GET", "/metrics", "200")) >= 1
    assert grown == {
        ("GET", "/v1/me/actions/{action_id}", "404"): 3,
        ("GET", "", "404"): 3,
        ("_OTHER", "", "405"): 3,
    }


def value_of(text, name, **labels):
    """The sum of a figure over all samples with these labels; 0 when there is none."""
    return sum(
        sample.value
        for sample in samples_of(text)
        if sample.name == name and labels.items() <= sample.labels.items()
    )


async def test_batches_tokens_and_the_outbox_are_measured(client):
    before = (await client.get("/metrics")).text
    headers = await headers_of(client, "alice")
    await client.post("/v1/me/actions", json=walk(), headers=headers)
    await client.get("/v1/me", headers={"Authorization": "Bearer nonsense"})
    after = (await client.get("/metrics")).text

    def grown(name, **labels):
        return value_of(after, name, **labels) - value_of(before, name, **labels)

    assert grown("writer_batch_actions_count") == 1
    assert grown("writer_batch_actions_sum") == 1
    assert grown("auth_tokens_verified_total", outcome="believed") == 1
    assert grown("auth_tokens_verified_total", outcome="refused") == 1
    # No worker runs here, so what the boards must learn of waits.
    assert value_of(after, "outbox_rows_waiting") == 1
    assert value_of(after, "writer_actions_waiting") == 0


async def test_figures_are_for_this_machine_unless_a_setting_opens_them(settings):
    opened = msgspec.structs.replace(settings, metrics_public=True)
    for of_settings, from_afar in ((settings, 404), (opened, 200)):
        async with running_app(of_settings) as app:
            async with client_of(app, "192.0.2.7") as far:
                assert (await far.get("/metrics")).status_code == from_afar
            async with client_of(app) as near:
                assert (await near.get("/metrics")).status_code == 200
                proxied = {"X-Forwarded-For": "192.0.2.7"}
                assert (await near.get("/metrics", headers=proxied)).status_code == from_afar


async def test_the_terms_of_the_programme_are_public(client):
    terms = (await client.get("/v1/program")).json()
    assert terms["rulebook_version"] == 1
    assert terms["timezone"]
    assert terms["ripening"] == {"next_day_at": "07:00", "after_s": None}
    assert terms["expires_after_s"] == 72 * 3_600
    assert terms["now"].endswith("Z")
    assert {"taking", "watering", "shield", "name"} <= set(terms)


async def test_a_line_a_request_is_logged_when_asked_for(settings, capsys):
    asked = msgspec.structs.replace(settings, access_log=True)
    with logging_as_served():
        async with served(asked) as client:
            headers = await headers_of(client, "alice")
            await client.get("/v1/me", headers=headers | {"X-Request-Id": "a-plain-one"})
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    (line,) = [line for line in lines if line.get("request_id") == "a-plain-one"]
    assert (line["method"], line["route"], line["status"]) == ("GET", "/v1/me", 200)
    assert line["duration_ms"] > 0
    assert "eyJ" not in json.dumps(lines)
