"""The rules folder of a running instance: what an operator saves, in the ways that editors save."""

import asyncio
import shutil

import pytest

from service.platform.acts import Act
from service.rulebooks.publish import activate
from service.rulebooks.watch import FolderWatcher
from tests.people import eventually
from tests.rules.sets import NOW, PROGRAM, WALK

RULE = (
    "rules: [{id: r, action: mobility.walk, title: t, earns: 1, limits: [{per: day, count: 9}]}]\n"
)


STEP = """
- {{at: 2026-11-21T08:00, participant: ann, action: mobility.walk,
   attributes: {{steps: 9}}, expect: {{earns: {}}}}}
"""


def rules(earns):
    return PROGRAM + WALK + RULE.replace("earns: 1", f"earns: {earns}")


def scenario(folder, text):
    tests = folder / "tests"
    tests.mkdir(exist_ok=True)
    (tests / "day.yaml").write_text(text)


@pytest.fixture
def database_url(fresh_database_url):
    return fresh_database_url


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "rules"
    path.mkdir()
    (path / "a.yaml").write_text(rules(1))
    return path


@pytest.fixture
def told():
    """The lines on the terminal."""
    return []


@pytest.fixture
async def watcher(folder, database_url, told):
    """A watcher as a start makes it: the folder is version 1."""
    made = FolderWatcher(folder, database_url, told.append)
    assert await made.publish()
    return made


async def active(database):
    return await database.pool.fetchval("SELECT version FROM active_rulebook")


async def looks(watcher):
    """Two looks: nothing moves between them."""
    await watcher.look()
    await watcher.look()


async def test_what_editors_leave_is_passed_over_and_strangers_are_told(
    watcher, folder, database, told
):
    (folder / ".#a.yaml").symlink_to("ada@host.123:456")
    (folder / "._a.yaml").write_bytes(b"\xff")
    (folder / "b.YML").write_text("{")
    await looks(watcher)
    line = f"{folder}/b.YML:1:1: warning: not read, as its name does not end in .yaml or .yml"
    assert told == [f"rules: {folder} is published as version 1", line]
    (folder / "a.yaml").write_text(rules(2))
    await looks(watcher)
    assert await active(database) == 2
    assert told.count(line) == 1


async def test_what_is_saved_is_active_and_its_meaning_told(watcher, folder, database, told):
    await looks(watcher)
    assert await active(database) == 1
    (folder / "a.yaml").write_text(rules(2))
    await looks(watcher)
    assert await active(database) == 2
    assert told[-3:] == [
        f"rules: {folder} is published as version 2",
        "  r: earns 1 -> 2 g",
        "1 change, every example comes out as before",
    ]
    await looks(watcher)
    assert await database.pool.fetchval("SELECT count(*) FROM rulebooks") == 2


async def test_a_bad_file_leaves_the_last_good_version(watcher, folder, database, told):
    (folder / "a.yaml").write_text(rules("nope"))
    await looks(watcher)
    assert await active(database) == 1
    assert told[-3].startswith(f"{folder}/a.yaml:16:57: error: nope is not known here")
    assert told[-1] == "rules: version 1 goes on deciding"
    count = len(told)
    await looks(watcher)
    assert len(told) == count, "it is told once"
    (folder / "a.yaml").write_text(rules(1))
    await looks(watcher)
    mended = f"rules: {folder} is good again, with nothing to publish; version 1 decides"
    assert told[count:] == [mended], "it is as it was published"
    (folder / "a.yaml").touch()
    await looks(watcher)
    assert told[count:] == [mended], "that is told once too"
    (folder / "a.yaml").write_text(rules(3))
    await looks(watcher)
    assert await active(database) == 2


async def test_rules_whose_scenario_fails_wait_until_it_is_mended(
    watcher, folder, database, database_url, told
):
    scenario(folder, STEP.format(1))
    await looks(watcher)
    assert len(told) == 1, "a good scenario is no news"
    (folder / "a.yaml").write_text(rules(2))
    await looks(watcher)
    fault = (
        f"{folder}/tests/day.yaml:3:44: error: step 1 (ann, mobility.walk): earns is 2, not 1;"
        " r saves 0 g and earns 2 g"
    )
    warning = f"{folder}/a.yaml:16:14: warning: rule r has no example"
    refused = [fault, warning, "rules: version 1 goes on deciding"]
    assert told[1:] == refused
    started = FolderWatcher(folder, database_url, told.append)
    assert await started.publish(), "a start has the last good version"
    assert (await active(database), told[4:]) == (1, refused)
    scenario(folder, STEP.format(2))
    await looks(watcher)
    assert (await active(database), told[7]) == (2, f"rules: {folder} is published as version 2")
    count = len(told)
    scenario(folder, STEP.format(3))
    await looks(watcher)
    assert told[count].startswith(f"{folder}/tests/day.yaml:3:44: error: ")
    scenario(folder, "- nothing: of this\n")
    (folder / "tests" / "more.yaml").write_bytes(b"\xff")
    await looks(watcher)
    assert any("more.yaml:1:1: error: byte 0xff is not UTF-8" in line for line in told[count + 2 :])
    assert told[-1] == "rules: version 2 goes on deciding"
    shutil.rmtree(folder / "tests")
    await looks(watcher)
    assert told[-1] == f"rules: {folder} is good again, with nothing to publish; version 2 decides"
    assert await database.pool.fetchval("SELECT count(*) FROM rulebooks") == 2


async def test_errors_are_told_before_a_page_of_warnings(watcher, folder, told):
    warned = [f"{{id: w{n}, action: mobility.walk, title: t, earns: 1}}" for n in range(30)]
    (folder / "a.yaml").write_text(f"{PROGRAM}{WALK}rules: [{', '.join(warned)}]\n")
    scenario(folder, STEP.format(1))
    await looks(watcher)
    assert f"{folder}/tests/day.yaml:3:44: error: " in told[1]
    assert told[-2:] == ["... and 41 lines more", "rules: version 1 goes on deciding"]


async def test_an_editor_that_exchanges_the_file(watcher, folder, database):
    (folder / ".a.yaml.swp").write_text("half of it")
    (folder / "a.yaml~").write_text(rules(1))
    new = folder / "4913"
    new.write_text(rules(2))
    new.replace(folder / "a.yaml")
    await looks(watcher)
    assert await active(database) == 2
    row = await database.pool.fetchrow("SELECT files FROM rulebooks WHERE version = 2")
    assert list(row["files"]) == ["a.yaml"]


async def test_a_file_of_the_same_size_and_time_is_another_one(watcher, folder, database):
    state = (folder / "a.yaml").stat()
    new = folder / "new"
    new.write_text(rules(2))
    assert new.stat().st_size == state.st_size
    shutil.copystat(folder / "a.yaml", new)
    new.replace(folder / "a.yaml")
    await looks(watcher)
    assert await active(database) == 2


async def test_a_file_that_is_still_written_is_left_alone(watcher, folder, database, told):
    text = rules(2)
    with (folder / "a.yaml").open("w") as stream:
        for start in range(0, len(text), 50):
            stream.write(text[start : start + 50])
            stream.flush()
            await watcher.look()
    assert told == [f"rules: {folder} is published as version 1"]
    await looks(watcher)
    assert await active(database) == 2


async def test_a_folder_that_is_gone_and_comes_back(watcher, folder, database, told):
    away = folder.rename(folder.with_name("away"))
    await looks(watcher)
    assert f"{folder}:1:1: error: " in told[-2]
    assert told[-1] == "rules: version 1 goes on deciding"
    count = len(told)
    await looks(watcher)
    away.rename(folder)
    await looks(watcher)
    mended = f"rules: {folder} is good again, with nothing to publish; version 1 decides"
    assert (await active(database), told[count:]) == (1, [mended])


async def test_a_roll_back_outlives_starts_until_somebody_edits(
    watcher, folder, database, database_url, told
):
    (folder / "a.yaml").write_text(rules(2))
    await looks(watcher)
    async with database.transaction() as connection:
        assert await activate(connection, 1, Act("olive", "", NOW))
    for _ in range(2):
        started = FolderWatcher(folder, database_url, told.append)
        assert await started.publish()
        await looks(started)
        scenario(folder, STEP.format(2) + "# saved once more\n" * len(told))
        await looks(started)
        assert await active(database) == 1
    (folder / "a.yaml").write_text(rules(3))
    scenario(folder, STEP.format(3))
    await looks(started)
    assert await active(database) == 3


async def test_a_folder_that_holds_the_active_version_needs_no_other(watcher, folder, database):
    (folder / "a.yaml").write_text(rules(2))
    await looks(watcher)
    async with database.transaction() as connection:
        await activate(connection, 1, Act("olive", "", NOW))
    (folder / "a.yaml").write_text(rules(1))
    await looks(watcher)
    assert await active(database) == 1
    assert await database.pool.fetchval("SELECT count(*) FROM rulebooks") == 2
    (folder / "a.yaml").write_text(rules(2))
    await looks(watcher)
    assert await active(database) == 3


async def test_a_start_without_any_version_needs_a_good_folder(folder, database_url, told):
    (folder / "a.yaml").write_text("broken: [")
    assert not await FolderWatcher(folder, database_url, told.append).publish()
    assert told[0].startswith(f"{folder}/a.yaml:1:")
    (folder / "a.yaml").write_text(rules(1))
    scenario(folder, STEP.format(2))
    told.clear()
    assert not await FolderWatcher(folder, database_url, told.append).publish()
    assert told[0].startswith(f"{folder}/tests/day.yaml:3:44: error: ")


async def test_it_goes_on_when_the_database_was_away(watcher, folder, database):
    await database.pool.execute("ALTER TABLE active_rulebook RENAME TO gone")
    (folder / "a.yaml").write_text(rules(2))
    running = asyncio.create_task(watcher.run())

    async def is_retried():
        return watcher._settled is None

    await eventually(is_retried)
    await database.pool.execute("ALTER TABLE gone RENAME TO active_rulebook")

    async def is_active():
        return await active(database) == 2

    await eventually(is_active)
    assert not running.done()
    running.cancel()
