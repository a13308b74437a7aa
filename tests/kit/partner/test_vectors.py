"""Each published vector is answered as it says, by a running instance."""

import json

import pytest

from kit.partner.vectors import Setting, vectors_of
from service.platform.clock import Clock
from tests.kit.partner.city import PARTNER, SOURCE

NAMES = [vector["name"] for vector in vectors_of(Setting())["vectors"]]


@pytest.fixture(scope="module")
def vectors(instance, city, tmp_path_factory):
    secret = tmp_path_factory.mktemp("keys") / "secret"
    secret.write_text(city.secret)
    now = int(Clock().real_now().timestamp())
    own = ["--partner", PARTNER, "--source", SOURCE, "--secret", f"@{secret}", "--at", str(now)]
    done = instance.type("partner", "test-vectors", *own)
    assert done.returncode == 0, done.stderr
    return {vector["name"]: vector for vector in json.loads(done.stdout)["vectors"]}


@pytest.mark.parametrize("name", NAMES)
def test_a_delivery_is_answered_as_its_vector_says(city, vectors, name):
    vector = vectors[name]
    body = vector["body"].encode()
    answer = city.client.post(
        f"/v1/partners/{PARTNER}/events", content=body, headers=vector["headers"]
    )
    expect = vector["expect"]
    assert answer.status_code == expect["status"], answer.text
    if "code" in expect:
        assert answer.json()["code"] == expect["code"]
    else:
        told = [
            result["problem"]["code"] if result["status"] == "rejected" else result["status"]
            for result in answer.json()["results"]
        ]
        assert told == expect["results"]


def test_the_command_prints_the_vectors_with_their_keys(instance):
    done = instance.type("partner", "test-vectors")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == vectors_of(Setting())
