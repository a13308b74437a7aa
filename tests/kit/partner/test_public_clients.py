"""Partners' clients as the registries give them, unchanged, against a running instance.

The guide's own examples are what is typed here: what it shows works.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.kit.partner.city import PARTNER, SOURCE

_ROOT = Path(__file__).parents[3]
_NODE = Path(__file__).parent / "node"
_GUIDE = (_ROOT / "docs" / "partners.md").read_text(encoding="utf-8")

needs_node = pytest.mark.skipif(
    shutil.which("node") is None or not (_NODE / "node_modules").is_dir(),
    reason="node, or its packages (npm ci in tests/kit/partner/node), are not on this machine",
)


def block(language, holding):
    """The guide's code block of this language that holds this text."""
    blocks = re.findall(rf"```{language}\n(.*?)```", _GUIDE, re.DOTALL)
    (found,) = [text for text in blocks if holding in text]
    return found


def run(command, city, text=None, **more):
    environment = {
        "PATH": os.environ["PATH"],
        "URL": city.url,
        "PARTNER": PARTNER,
        "SOURCE": SOURCE,
        "SECRET": city.secret,
        "TYPE": "transit.metro_trip",
        "SUBJECT": "rider-1",
        **more,
    }
    done = subprocess.run(
        # Python's own time limit sleeps, which faketime breaks.
        ["timeout", "60", *command],
        input=text,
        env=environment,
        cwd=_NODE,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def assert_paid_once(answer, city, begins):
    assert answer["accepted"] == 1, answer
    (result,) = answer["results"]
    assert result["id"].startswith(begins)
    assert result["status"] == "accepted"
    (action,) = [each for each in city.actions(city.reader) if each["id"] == result["action_id"]]
    assert action["energy_g"] == result["energy_g"] > 0
    assert action["source"] == f"partner:{PARTNER}"


def test_curl_and_openssl_as_the_guide_shows(city):
    answer = run(["bash", "-eu"], city, block("bash", "ride-curl-"), SUBJECT="rider-2")
    assert_paid_once(answer, city, "ride-curl-")


def test_python_as_the_guide_shows(city):
    answer = run([sys.executable, "-"], city, block("python", "ride-python-"), SUBJECT="rider-2")
    assert_paid_once(answer, city, "ride-python-")


@needs_node
def test_node_as_the_guide_shows(city):
    command = ["node", "--input-type=module", "-"]
    answer = run(command, city, block("js", "ride-node-"), SUBJECT="rider-2")
    assert_paid_once(answer, city, "ride-node-")


@needs_node
@pytest.mark.parametrize(("how", "count"), [("cloudevent", 1), ("batch", 2), ("plain", 1)])
def test_node_sends_what_its_clients_can_send(city, how, count):
    at = datetime.now(UTC) - timedelta(hours=2, minutes=10 * len(how))
    more = {
        "URL": f"{city.url}/v1/partners/{PARTNER}/events",
        "ID": f"node-{how}",
        "TIME": at.isoformat(),
        "DATA": '{"distance_km": 8.2}',
    }
    told = run(["node", "send.mjs", how], city, **more)
    assert told["status"] == 200
    assert told["answer"]["accepted"] == count, told
    again = run(["node", "send.mjs", how], city, **more)
    assert again["answer"]["duplicate"] == count, again
