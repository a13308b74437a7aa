"""What a fresh instance begins with, and the story that `saxaul demo` tells."""

import os
import subprocess
import sys

import pytest

from service.demo import seed_demo
from tests.instance import ROOT
from tests.people import publish_rules


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


@pytest.mark.real_processes
def test_the_story_is_told_to_its_end_and_leaves_nothing_behind(embedded_home):
    folder = embedded_home.parent
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
    assert "9. The audit recomputes everything" in told.stdout
    assert "verified" in told.stdout
    assert list(folder.iterdir()) == []
