"""Logs are JSON lines in which no secret stands, whoever logs it."""

import json
import logging
import sys

import pytest
import structlog

from tests.logs import logging_as_served

SECRETS = [
    {"authorization": "Bearer s3cret"},
    {"cookie": "sid=s3cret"},
    {"webhook_signature": "v1,s3cret"},
    {"headers": [(b"authorization", b"Bearer s3cret"), (b"webhook-signature", b"v1,s3cret")]},
    {"headers": {"Set-Cookie": "sid=s3cret"}},
    {"secret_key": "s3cret"},
    {"access_token": "s3cret"},
    {"text": "the header was Bearer s3cret"},
    {"text": "the key whsec_s3cret was refused"},
    {"text": b"raw whsec_s3cret"},
    {"text": "token eyJhbGciOiJ.eyJzdWIiOiJ.s3cret"},
    {"url": "postgresql://saxaul:s3cret@db/saxaul"},
    {"body": {"data": [{"password": "s3cret"}]}},
]


@pytest.fixture
def lines_of(capsys):
    """Do this with logging as a process has it; what was written, as a list of objects."""

    def lines_of(act):
        with logging_as_served():
            act()
        return [json.loads(line) for line in capsys.readouterr().err.splitlines()]

    return lines_of


@pytest.mark.parametrize("fields", SECRETS)
def test_no_secret_is_logged(lines_of, fields):
    (line,) = lines_of(lambda: structlog.get_logger("ours").warning("refused", **fields))
    assert line["event"] == "refused"
    assert "s3cret" not in json.dumps(line)
    assert "[hidden]" in json.dumps(line)


def test_libraries_log_in_the_same_form(lines_of):
    def act():
        logging.getLogger("library").error("no answer from %s", "redis://:s3cret@cache")
        logging.getLogger("library").debug("not wanted")

    (line,) = lines_of(act)
    assert line["event"] == "no answer from redis://:[hidden]@cache"
    assert (line["level"], line["logger"]) == ("error", "library")
    assert line["timestamp"].endswith("Z")


def test_a_fault_is_one_line_with_its_cause(lines_of):
    def act():
        try:
            int("whsec_s3cret")
        except ValueError:
            structlog.get_logger("ours").exception("failed")

    (line,) = lines_of(act)
    assert "ValueError: invalid literal for int() with base 10: '[hidden]'" in line["exception"]
    assert "s3cret" not in json.dumps(line)


@pytest.mark.parametrize(
    ("form", "is_terminal", "is_text"),
    [("auto", True, True), ("auto", False, False), ("text", False, True), ("json", True, False)],
)
def test_a_person_at_a_terminal_reads_text(monkeypatch, capsys, form, is_terminal, is_text):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: is_terminal, raising=False)
    with logging_as_served(form):
        structlog.get_logger("ours").info("api_started", url="http://:s3cret@127.0.0.1:8000")
        try:
            int("whsec_s3cret")
        except ValueError:
            structlog.get_logger("ours").exception("failed")
    first, *rest = capsys.readouterr().err.splitlines()
    assert first.startswith("{") != is_text
    for word in ("api_started", "[hidden]@127.0.0.1:8000"):
        assert word in first
    assert "s3cret" not in "".join([first, *rest])
    assert ("ValueError" in rest[-1]) == is_text or len(rest) == 1


def test_other_values_stay_as_they_are(lines_of):
    fields = {"actions": 200, "lanes": [0, 1], "took_s": 0.01, "empty": None}
    (line,) = lines_of(lambda: structlog.get_logger("ours").info("batch", **fields))
    assert {name: line[name] for name in fields} == fields
