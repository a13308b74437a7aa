"""`saxaul run` as a user meets it: one start, one stop, plain lines when it cannot."""

import json
import os
import re
import signal

import httpx
import pytest

from tests.instance import Instance, is_running, wait_for

pytestmark = pytest.mark.real_processes


@pytest.fixture
def instance(embedded_home):
    """An instance with embedded servers of its own, not started yet."""
    made = Instance(embedded_home)
    yield made
    made.end()


def test_it_says_where_to_look_stops_whole_and_comes_back_after_kill_9(instance):
    instance.start()
    token, url = re.search(r'curl -H "Authorization: Bearer (\S+)" (\S+)', instance.said()).groups()
    profile = httpx.get(url, headers={"Authorization": f"Bearer {token}"}, trust_env=False).json()
    assert profile["balances"]["available_g"] >= 0
    assert httpx.get(f"{instance.url}/schema", trust_env=False).is_success
    assert re.search(r"rules folder +/\S+", instance.said())

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
    again = httpx.get(url, headers={"Authorization": f"Bearer {token}"}, trust_env=False)
    assert again.json()["participant_id"] == profile["participant_id"]
    processes = [*instance.children("api"), *instance.children("worker")]
    assert instance.stop(signal.SIGINT) == 0
    assert not any(is_running(pid) for pid in processes)


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").touch()
    refused = Instance(tmp_path / "file" / "home").command("run")
    assert refused.returncode == 1
    assert refused.stderr.count("\n") == 1
    assert "SAXAUL_HOME" in refused.stderr


def test_its_port_is_taken_and_what_is_killed_below_it_comes_back(live_server, embedded_home):
    other = Instance(embedded_home)
    other.settings["port"] = live_server.port
    refused = other.command("run")
    assert refused.returncode == 1
    assert refused.stderr == (
        f"127.0.0.1:{live_server.port} is in use by another program:"
        " set SAXAUL_PORT to a free port.\n"
    )
    assert not embedded_home.exists()

    # The API alone must not share the port either, as the kernel would let it.
    api = live_server.command("api")
    assert (api.returncode, api.stderr) == (1, refused.stderr)

    (worker,) = live_server.children("worker")
    os.kill(worker, signal.SIGKILL)
    wait_for(lambda: live_server.children("worker") not in ([], [worker]), live_server)
    assert "the worker ended by itself with code -9; it starts again in 1 s" in live_server.said()

    _, serving = live_server.children("api")
    os.kill(serving, signal.SIGKILL)
    wait_for(lambda: serving not in live_server.children("api") and live_server.is_ready())


def test_of_two_that_start_at_once_one_gets_the_port(live_server):
    """Each would listen beside the other, and half of the requests would go to either."""
    assert live_server.stop() == 0
    both = [live_server.command("api", wait=False) for _ in range(2)]
    try:
        wait_for(lambda: any(process.poll() is not None for process in both), live_server)
        (refused,) = [process for process in both if process.poll() is not None]
        assert refused.returncode == 1
        wait_for(lambda: live_server.said().count('"api_started"') == 2)
        assert httpx.get(f"{live_server.url}/health/live", trust_env=False).is_success
    finally:
        for process in both:
            process.terminate()
            process.wait(timeout=30)


def test_the_end_of_the_api_is_the_end_of_the_run(live_server):
    managing, serving = live_server.children("api")
    os.kill(managing, signal.SIGKILL)
    assert live_server.process.wait(timeout=30) == 1
    assert live_server.said().endswith("the API ended by itself with code -9.\n")
    assert not is_running(serving)


def test_the_end_of_a_server_is_the_end_of_the_run_and_the_next_one_recovers(instance):
    for name in ("redis", "postgres"):
        instance.start()
        children = json.loads((instance.home / "running.json").read_text())["children"]
        (server,) = [pid for mark, pid in children.items() if name in mark.partition("-")[2]]
        os.kill(server, signal.SIGKILL)
        assert instance.process.wait(timeout=60) == 1
        assert instance.said().endswith(
            "PostgreSQL or Redis ended by itself; what was answered is stored. Start again.\n"
        )
        assert not any(is_running(pid) for pid in children.values())
    # A command starts what it needs for its own time, and says what it looked at.
    audited = instance.command("ledger", "audit")
    assert audited.returncode == 0, audited.stderr
    assert "8 books" in audited.stdout
    assert f"the instance in {instance.home}" in audited.stdout
    assert not (instance.home / "running.json").exists()


@pytest.mark.parametrize(
    "words",
    [
        ["ledger", "audit"],
        ["participants", "erased"],
        ["leaderboards", "check"],
        ["leaderboards", "rebuild"],
        ["rules", "list"],
        ["rules", "publish", "--note", "a note"],
        ["dev", "token", "ada"],
        ["migrate"],
        ["api"],
        ["worker"],
    ],
    ids=" ".join,
)
def test_in_a_folder_without_an_instance_a_command_makes_none(tmp_path, words):
    refused = Instance(tmp_path / "home").command(*words)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr.count("\n") == 1
    assert f"there is no instance in the state folder {tmp_path / 'home'}" in refused.stderr
    assert "SAXAUL_HOME" in refused.stderr
    assert not (tmp_path / "home").exists()


def test_a_server_that_does_not_answer_is_one_line(tmp_path):
    nobody = {"database_url": "postgresql://u@127.0.0.1:1/x", "redis_url": "redis://127.0.0.1:1"}
    for words in (["run"], ["ledger", "audit"]):
        refused = Instance(tmp_path / "home", **nobody).command(*words)
        assert refused.returncode == 1
        assert refused.stderr.count("\n") == 1
        assert "PostgreSQL" in refused.stderr
