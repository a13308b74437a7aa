"""Versions of the rules in a real database: immutable, one active, a bad one never replaces it."""

import asyncio
import threading

import asyncpg
import msgspec
import pytest

from service.http.problems import problem_body
from service.platform.acts import Act
from service.platform.errors import NotFoundError
from service.rulebooks import checked
from service.rulebooks.checked import RulebookInvalidError, checked_draft
from service.rulebooks.publish import (
    NoRulebookError,
    RulebookChangedError,
    Rulebooks,
    activate,
    publish_folder_if_changed,
)
from service.rulebooks.publish import publish as store
from service.rules.compile.draft import sha256_of
from service.rules.decide.languages import Reader
from tests.people import publish
from tests.rules.sets import NOW, PROGRAM, WALK

ANNA = Act("anna", "", NOW)
RULE = "rules: [{id: r, action: mobility.walk, title: t, earns: 1}]\n"


@pytest.fixture
def database_url(fresh_database_url):
    return fresh_database_url


@pytest.fixture
def folder(tmp_path):
    """A folder of rules that operators edit."""
    path = tmp_path / "rules"
    path.mkdir()
    (path / "a.yaml").write_text(rules(1))
    return path


def rules(earns):
    return PROGRAM + WALK + RULE.replace("earns: 1", f"earns: {earns}")


async def published(database, text, **more):
    async with database.transaction() as connection:
        return await publish(
            connection,
            {"rules/a.yaml": text},
            **{"author": "anna", "note": "a test", "now": NOW, **more},
        )


async def refreshed(rulebooks, database):
    async with database.pool.acquire() as connection:
        return await rulebooks.refresh(connection)


async def switched_to(rulebooks, version):
    """Wait until the task that follows the active version has seen it."""
    async with asyncio.timeout(10):
        while rulebooks.active.version != version:  # noqa: ASYNC110  it looks by itself
            await asyncio.sleep(0.01)


async def test_a_version_is_stored_activated_and_known(database):
    rulebooks = Rulebooks(database)
    with pytest.raises(NoRulebookError, match="saxaul rules publish"):
        _ = rulebooks.active
    assert await refreshed(rulebooks, database) is False
    assert await published(database, rules(1)) == 1
    assert await refreshed(rulebooks, database) is True
    assert await refreshed(rulebooks, database) is False
    assert rulebooks.active.version == 1
    assert rulebooks.active.sha256 == sha256_of({"a.yaml": rules(1)})
    row = await database.pool.fetchrow("SELECT * FROM rulebooks")
    assert row["files"] == {"a.yaml": rules(1)}
    assert (row["author"], row["note"], row["based_on"]) == ("anna", "a test", None)
    assert row["sha256"].hex() == rulebooks.active.sha256
    log = await database.pool.fetchrow("SELECT * FROM rulebook_activations")
    assert (log["version"], log["activated_by"], log["activated_at"]) == (1, "anna", NOW)


async def test_processes_switch_by_themselves(database):
    await published(database, rules(1))
    rulebooks = Rulebooks(database)
    await refreshed(rulebooks, database)
    following = asyncio.create_task(rulebooks.run(0.02))
    await published(database, rules(2))
    await switched_to(rulebooks, 2)
    following.cancel()
    assert rulebooks.active.rules["r"].earns == 2


async def test_an_old_version_can_be_asked_for(database):
    for earns in range(1, 20):
        await published(database, rules(earns))
    rulebooks = Rulebooks(database)
    await refreshed(rulebooks, database)
    for version in (*range(1, 20), 3, 19):
        book = await rulebooks.get(version)
        assert (book.version, book.rules["r"].earns) == (version, version)
    assert await rulebooks.get(19) is await rulebooks.get(19)
    with pytest.raises(NotFoundError, match="no version 77"):
        await rulebooks.get(77)

    # What was just compiled here to be published is taken as it is; anything else is not.
    draft = checked_draft({"a.yaml": rules(20)})
    rulebooks.offer(draft)
    await published(database, rules(20))
    await refreshed(rulebooks, database)
    assert rulebooks.active.version == 20
    assert rulebooks.active.rules is draft.rulebook.rules
    rulebooks.offer(checked_draft({"a.yaml": rules(98)}))
    await published(database, rules(21))
    await refreshed(rulebooks, database)
    assert rulebooks.active.rules["r"].earns == 21


async def test_a_bad_set_is_never_stored(database):
    await published(database, rules(1))
    with pytest.raises(RulebookInvalidError) as caught:
        await published(database, rules("nope + nada"))
    assert str(caught.value).startswith("rules/a.yaml:16:57: error: nope is not known here")
    assert "(and 1 more)" in str(caught.value)
    told = msgspec.json.decode(problem_body(caught.value, Reader()))
    assert (told["status"], told["code"]) == (422, "rulebook-invalid")
    assert [entry["column"] for entry in told["problems"] if entry["severity"] == "error"] == [
        57,
        64,
    ]
    assert await database.pool.fetchval("SELECT count(*) FROM rulebooks") == 1


async def test_examples_that_come_out_otherwise_refuse(database):
    wrong = rules("1, examples: [{name: x, given: {steps: 1}, expect: {earns: 2}}]")
    with pytest.raises(RulebookInvalidError, match="earns is 1, not 2"):
        await published(database, wrong)


async def test_a_version_that_this_program_cannot_read_does_not_replace_a_good_one(database):
    rulebooks = Rulebooks(database)
    await published(database, rules(1))
    await refreshed(rulebooks, database)
    await database.pool.execute(
        "INSERT INTO rulebooks (version, sha256, files, author, note, created_at)"
        " VALUES (2, '', $1, 'newer', 'a newer language', $2)",
        {"a.yaml": "new_section: 1"},
        NOW,
    )
    await database.pool.execute("UPDATE active_rulebook SET version = 2")
    assert await refreshed(rulebooks, database) is False
    assert await refreshed(rulebooks, database) is False
    assert rulebooks.active.version == 1
    await database.pool.execute("UPDATE active_rulebook SET version = 1")
    assert await refreshed(rulebooks, database) is False
    assert await published(database, rules(3)) == 3
    assert await refreshed(rulebooks, database) is True
    await database.pool.execute("UPDATE active_rulebook SET version = 1")
    assert await refreshed(rulebooks, database) is True
    assert rulebooks.active.version == 1


async def test_of_two_who_publish_at_once_on_the_same_version_one_wins(database):
    await published(database, rules(1))
    outcomes = await asyncio.gather(
        published(database, rules(2), based_on=1),
        published(database, rules(3), based_on=1),
        return_exceptions=True,
    )
    (lost,) = [outcome for outcome in outcomes if isinstance(outcome, Exception)]
    assert isinstance(lost, RulebookChangedError)
    assert lost.status == 409
    assert (lost.facts["based_on"], lost.facts["active_version"]) == (1, 2)
    assert sorted(
        row["based_on"] or 0 for row in await database.pool.fetch("SELECT based_on FROM rulebooks")
    ) == [0, 1]


async def test_all_who_publish_at_once_without_a_base_get_versions(database):
    versions = await asyncio.gather(*(published(database, rules(n)) for n in range(1, 6)))
    assert sorted(versions) == [1, 2, 3, 4, 5]


async def test_a_folder_is_published_only_when_it_changed(database, folder):
    async def look():
        async with database.transaction() as connection:
            return await publish_folder_if_changed(connection, folder, now=NOW)

    assert sorted([await look() or 0, await look() or 0]) == [0, 1]
    assert await published(database, rules(7)) == 2
    assert await look() is None  # somebody published another version: the folder stays out
    await database.pool.execute("UPDATE active_rulebook SET version = 1")
    assert await look() is None  # rolled back: the folder stays out
    (folder / "a.yaml").write_text(rules(5))
    assert await look() == 3
    note = await database.pool.fetchrow("SELECT author, note FROM rulebooks WHERE version = 3")
    assert tuple(note) == ("folder", "from the folder rules")
    (folder / "a.yaml").write_text("broken: [")
    with pytest.raises(RulebookInvalidError):
        await look()
    (folder / "a.yaml").unlink()
    with pytest.raises(RulebookInvalidError, match=r"holds no \.yaml file"):
        await look()
    assert await database.pool.fetchval("SELECT version FROM active_rulebook") == 3


async def test_the_known_version_goes_on_deciding_without_a_database(database):
    await published(database, rules(1))
    rulebooks = Rulebooks(database)
    await refreshed(rulebooks, database)
    following = asyncio.create_task(rulebooks.run(0.01))
    await database.pool.execute("ALTER TABLE active_rulebook RENAME TO gone")
    with pytest.raises(asyncpg.UndefinedTableError):
        await refreshed(rulebooks, database)
    async with asyncio.timeout(10):
        await database.pool.execute("SELECT pg_sleep(0.05)")
    assert rulebooks.active.version == 1
    await database.pool.execute("ALTER TABLE gone RENAME TO active_rulebook")
    await published(database, rules(2))
    await switched_to(rulebooks, 2)
    assert not following.done()
    following.cancel()


async def test_examples_that_would_take_for_ever_are_refused_at_once(database, monkeypatch):
    monkeypatch.setattr(checked, "_TRIED_MAX", 8)
    example = "{given: {steps: 1}, expect: {earns: 1}}"
    rule = "{id: r%d, action: mobility.walk, title: t, earns: 1, examples: [%s]}"
    several = ", ".join(rule % (number, example) for number in range(3))
    text = f"{PROGRAM}{WALK}rules: [{several}]\n"
    with pytest.raises(RulebookInvalidError, match="would try 9 rules; 8 are allowed"):
        await published(database, text)
    monkeypatch.setattr(checked, "_TRIED_MAX", 9)
    assert await published(database, text) == 1


@pytest.mark.parametrize("call", ["compile_rulebook", "diff"])
async def test_requests_go_on_while_a_large_set_is_activated_or_compared(
    database, monkeypatch, call
):
    for earns in (1, 2, 3):
        await published(database, rules(earns))
    work, free = getattr(checked, call), threading.Event()

    def slow(*arguments):
        # Only the loop, when it is not held, lets this go on.
        assert free.wait(10)
        return work(*arguments)

    async def order():
        async with database.transaction() as connection:
            if call == "compile_rulebook":
                return await activate(connection, 1, ANNA)
            draft = checked_draft({"a.yaml": rules(4)})
            with pytest.raises(RulebookChangedError):
                await store(connection, {"a.yaml": rules(4)}, draft, ANNA, note="n", based_on=1)
            return True

    monkeypatch.setattr(checked, call, slow)
    asyncio.get_running_loop().call_later(0.1, free.set)
    assert await order()
