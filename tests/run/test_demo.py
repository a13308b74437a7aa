"""What a fresh instance begins with, and the story that `saxaul demo` tells."""

import os
import subprocess
import sys

import pytest
from click.testing import CliRunner

from service.__main__ import main
from service.run.demo import DEMO_PARTNER, DEMO_SUBJECT, demo_secret_path, seed_demo
from tests.partners.sender import Sender
from tests.people import client_of, publish_rules, running_app
from tests.processes import ROOT, wait_for


@pytest.fixture
def database_url(fresh_database_url):
    return fresh_database_url


async def state_of(database):
    """Everything that the demo data consist of."""
    return {
        "people": await database.pool.fetchval("SELECT count(*) FROM participants"),
        "collected": await database.pool.fetchval("SELECT sum(available) FROM books"),
        "projects": [
            row[0] for row in await database.pool.fetch("SELECT name FROM projects ORDER BY name")
        ],
        "partners": [row[0] for row in await database.pool.fetch("SELECT id FROM partners")],
    }


async def test_demo_data_are_few_and_made_once(settings, database):
    await publish_rules(database)
    await seed_demo(settings, settings.database_url)
    made = await state_of(database)
    assert 0 < made["people"] <= 12
    assert made["collected"] > 0
    assert len(made["partners"]) == 1
    assert len(made["projects"]) == 2
    assert all(name.startswith("demo-") for name in [*made["partners"], *made["projects"]])
    await seed_demo(settings, settings.database_url)
    assert await state_of(database) == made


async def test_demo_data_that_were_broken_off_are_completed(settings, database):
    await publish_rules(database)
    await seed_demo(settings, settings.database_url)
    made = await state_of(database)
    # The projects come last: without them the rest counts as broken off.
    await database.pool.execute("DELETE FROM stock")
    await database.pool.execute("DELETE FROM projects")
    await seed_demo(settings, settings.database_url)
    assert await state_of(database) == made


async def test_the_demos_partner_can_send_at_once(settings, database):
    await publish_rules(database)
    await seed_demo(settings, settings.database_url)
    path = demo_secret_path(settings)
    assert path.stat().st_mode & 0o077 == 0
    async with running_app(settings) as app, client_of(app) as client:
        sender = Sender(client, DEMO_PARTNER, path.read_text().strip(), "urn:demo-metro")
        assert (await sender.send_one(sender.event(DEMO_SUBJECT)))["status"] == "accepted"


@pytest.mark.real_processes
def test_the_story_is_told_to_its_end_and_leaves_nothing_behind(embedded_home):
    folder = embedded_home.parent
    # What a demo left that was killed; nobody has this process id any more.
    gone = subprocess.Popen(["true"])
    gone.wait()
    (folder / f"saxaul-demo-{gone.pid}-x" / "postgres").mkdir(parents=True)
    told = subprocess.run(
        [sys.executable, "-m", "service", "demo"],
        env={"PATH": os.environ["PATH"], "TMPDIR": str(folder)},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert told.returncode == 0, told.stdout + told.stderr
    assert ". The audit recomputes everything" in told.stdout
    assert "verified" in told.stdout
    assert list(folder.iterdir()) == []


@pytest.mark.real_processes
def test_a_demo_that_is_told_to_stop_leaves_nothing_behind(embedded_home):
    folder = embedded_home.parent
    with (folder / "said").open("wb") as said:
        telling = subprocess.Popen(
            [sys.executable, "-m", "service", "demo"],
            env={"PATH": os.environ["PATH"], "TMPDIR": str(folder)},
            cwd=ROOT,
            stdout=said,
            stderr=said,
        )
    try:
        wait_for(
            lambda: [*folder.glob("saxaul-demo-*/postgres.new"), *folder.glob("*/running.json")]
        )
        telling.terminate()
        assert telling.wait(timeout=60) == 1
    finally:
        telling.kill()
        telling.wait()
    assert (folder / "said").read_text().endswith("\nstopped\n")
    assert [path.name for path in folder.iterdir()] == ["said"]


def test_the_demo_says_that_it_is_not_for_production():
    refused = CliRunner().invoke(main, ["demo"], env={"SAXAUL_ENV": "production"})
    assert refused.exit_code == 1
    assert refused.stderr.count("\n") == 1
    assert "SAXAUL_ENV" in refused.stderr
