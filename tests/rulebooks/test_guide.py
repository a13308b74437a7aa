"""The operators' guide, typed as it stands, beside a small town that has walked."""

import re
import shlex
import shutil
import subprocess

import pytest
from click.testing import CliRunner

from service.__main__ import main
from tests.callers import advance, sign_in
from tests.people import publish_rules, served, settings_for, walk
from tests.rules.sets import ROOT
from tests.test_readme import masked

GUIDE = ROOT / "rules" / "README.md"
_SAXAUL = ".venv/bin/saxaul "
_NOBODY = "00000000-0000-4000-8000-000000000000"
_MASKS = (
    (r"\d{4}-\d\d-\d\dT?[ 0-9:]*Z", "<time>"),
    (r"\b(Mon|Tue|Wed|Thu|Fri|Sat|Sun) \d{4}-\d\d-\d\d \d\d:\d\d", "<local time>"),
    (r"^20\d\d-\d\d-\d\d(?= )", "<day>"),
    (r"\bfrom 20\d\d-\d\d-\d\d until\b", "from <day> until"),
    (r"\b[0-9a-f]{12}\b", "<hash>"),
    (r"[ ]+$", ""),
)


def steps_of(text):
    """Pairs of a command, with its further lines after >, and the answer that the guide shows."""
    for block in re.findall(r"^```console\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        for step in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            lines = step.rstrip("\n").split("\n")
            more = [line for line in lines[1:] if line.startswith("> ")]
            command = "\n".join([lines[0], *(line[2:] for line in more)])
            yield command, "\n".join(lines[1 + len(more) :])


def alike(answer):
    """An answer without what differs in each run: ids, times, hashes."""
    text = masked(answer)
    for pattern, name in _MASKS:
        text = re.sub(pattern, name, text, flags=re.MULTILINE)
    return text.strip()


async def walked_town(client):
    """Three days of three people; gives the first action."""
    first = None
    day = (
        ("ann", {"steps": 12000, "distance_km": 8.4}),
        ("ann", {"steps": 8000, "distance_km": 5.6}),
        ("bo", {"steps": 9000, "distance_km": 6.3}),
        ("cy", {"steps": 18000}),
    )
    for _ in range(3):
        for name, attributes in day:
            person = await sign_in(client, name)
            now = (await client.get("/v1/dev/clock")).json()["now"]
            answer = await person.post(
                "/v1/me/actions", walk(occurred_at=now, attributes=attributes)
            )
            assert answer.status_code == 201, answer.text
            first = first or answer.json()["id"]
        await advance(client, days=1)
    return first


@pytest.fixture
def settings(servers, fresh_database_url, tmp_path):
    return settings_for(servers, fresh_database_url, tmp_path / "home")


@pytest.fixture
async def action(settings, database):
    await publish_rules(database)
    async with served(settings) as client:
        return await walked_town(client)


class Desk:
    """A folder as a clone is, with rules of its own, for an operator called olive."""

    def __init__(self, place, settings):
        """Commands of ours run in this process: a guide of thirty must not take minutes."""
        self.place = place
        self.environment = {
            "LOGNAME": "olive",
            "COLUMNS": "140",
            "SAXAUL_HOME": str(settings.home),
            "SAXAUL_DATABASE_URL": settings.database_url,
            "SAXAUL_REDIS_URL": settings.redis_url,
            "SAXAUL_REDIS_PREFIX": settings.redis_prefix,
            "SAXAUL_SECRET_KEY": settings.secret_key,
        }

    def type(self, command):
        """What the command prints."""
        if not command.startswith(_SAXAUL):
            return self._bash(command, "")
        ours, _, piped = command.partition(" | ")
        result = CliRunner().invoke(main, shlex.split(ours)[1:], env=self.environment)
        assert isinstance(result.exception, SystemExit | None), result.exception
        return self._bash(piped, result.output) if piped else result.output

    def _bash(self, command, given):
        done = subprocess.run(
            ["bash", "-c", command], cwd=self.place, input=given, capture_output=True, text=True,
            check=False,
        )  # fmt: skip
        return done.stdout + done.stderr


@pytest.fixture
def desk(settings, tmp_path, monkeypatch):
    place = tmp_path / "clone"
    place.mkdir()
    shutil.copytree(ROOT / "rules", place / "rules")
    monkeypatch.chdir(place)
    return Desk(place, settings)


def test_the_guide_shows_what_is_printed(desk, action):
    steps = list(steps_of(GUIDE.read_text(encoding="utf-8")))
    assert len(steps) > 20
    for command, shown in steps:
        answer = desk.type(command.replace(_NOBODY, action))
        assert alike(answer) == alike(shown), command
