"""The tour of the README, typed as it stands into a shell, against a fresh instance."""

import os
import re
import subprocess
import time
from pathlib import Path

import pytest

from service.audit.checks import PAGE_CHECKS, WALKS
from tests.processes import PATIENCE_S, Instance

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
DOCUMENTS = [README, ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
_END = "--- end of an answer ---"
# What is another one in each run: ids, times, hashes, tree numbers, generated names.
_MASKS = (
    (r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "<id>"),
    (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", "<time>"),
    (r"\b[0-9a-f]{64}\b", "<hash>"),
    (r"SX(-[0-9A-Z]{4}){3}", "<tree>"),
    (r'"[A-Z][a-z]+ [A-Z][a-z]+ \d{4}"', '"<name>"'),
    (r"127\.0\.0\.1:\d+", "<address>"),
)


def steps_of(text):
    """Pairs of a command and the answer that the README shows, of all its console blocks."""
    for block in re.findall(r"^```console\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        for step in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, answer = step.partition("\n")
            yield command, answer.strip()


def masked(text):
    for pattern, name in _MASKS:
        text = re.sub(pattern, name, text)
    return text


class Shell:
    """One bash for all steps, as a reader has one."""

    def __init__(self, **environment):
        self.process = subprocess.Popen(
            ["bash", "--norc"],
            cwd=ROOT,
            env={"PATH": os.environ["PATH"], **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def type(self, command):
        """What the command prints."""
        self.process.stdin.write(f"{command}\necho; echo '{_END}'\n")
        self.process.stdin.flush()
        lines = iter(self.process.stdout.readline, "")
        return "".join(iter(lambda: next(lines), f"{_END}\n")).strip()

    def close(self):
        self.process.stdin.close()
        self.process.wait(timeout=PATIENCE_S)
        self.process.stdout.close()


@pytest.fixture
def instance(embedded_home):
    """A fresh instance with embedded servers of its own, and so with demo people."""
    made = Instance(embedded_home)
    made.start()
    yield made
    made.end()


@pytest.fixture
def shell():
    opened = Shell()
    yield opened
    opened.close()


@pytest.mark.real_processes
def test_the_tour_answers_what_the_readme_shows(instance, shell):
    steps = list(steps_of(README.read_text(encoding="utf-8")))
    assert len(steps) > 20
    for command, shown in steps:
        typed = command.replace("127.0.0.1:8000", f"127.0.0.1:{instance.port}")
        answer = shell.type(typed)
        deadline = time.monotonic() + PATIENCE_S
        while "/leaderboards/" in typed and masked(answer) != masked(shown):
            # The board follows a moment later, on a busy machine two moments.
            assert time.monotonic() < deadline, answer
            answer = shell.type(typed)
        assert masked(answer) == masked(shown), command


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_what_a_document_names_is_there(document):
    text = document.read_text(encoding="utf-8")
    links = re.findall(r"\]\((?!https?:)([^)#]+)", text)
    # Inside of service/ a file is named as its folder reads: `actions/record.py`.
    paths = re.findall(r"`((?:\w+/)+(?:[\w-]+\.\w+)?)`", text)
    missing = [link for link in links if not (document.parent / link).exists()]
    missing += [
        path
        for path in paths
        if not (ROOT / path).exists() and not (ROOT / "service" / path).exists()
    ]
    assert missing == []


def test_the_operators_guide_shows_every_check_of_the_audit():
    guide = (ROOT / "docs" / "operators.md").read_text(encoding="utf-8")
    shown = re.findall(r"^│ ([a-z][a-z ]*?) +│ (.*?) +│ +0 │$", guide, re.MULTILINE)
    checks = [*PAGE_CHECKS, *WALKS]
    assert {(check.name, check.asks) for check in checks} <= set(shown)
