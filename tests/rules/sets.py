"""Small rule sets for tests, and the shipped ones."""

from datetime import UTC, datetime
from pathlib import Path

from service.rules.compile import compile_rulebook
from service.rules.evaluate import evaluate
from service.rules.judge import Candidate, Judged, judge
from service.rules.load import read_folder

ROOT = Path(__file__).parent.parent.parent
NOW = datetime(2026, 11, 21, 10, tzinfo=UTC)
PROGRAM = """
program:
  name: Test city
  timezone: Asia/Shanghai
  energy: {ripens: {next_day_at: "07:00"}, expires_after: 72h}
"""
WALK = """
action_types:
  mobility.walk:
    title: Walk
    category: mobility
    reported_by: [participant, device, partner]
    attributes:
      steps: {type: integer, minimum: 1, maximum: 100000}
      distance_km: {type: number, minimum: 0.1, maximum: 100, unit: km, required: false}
      shoe: {type: string, max_length: 100, required: false}
"""


def rulebook_of(*texts):
    """Compile these texts as one file; warnings do not matter."""
    draft = compile_rulebook({"set.yaml": "\n".join(texts)})
    assert not draft.errors, [str(problem) for problem in draft.errors]
    return draft.rulebook


def walk_rules(*rules):
    """A programme with walking and these rules, each the YAML lines under its dash."""
    listed = "\n".join(f"  - {{action: mobility.walk, title: Walk, {rule}}}" for rule in rules)
    return rulebook_of(PROGRAM, WALK, "rules:\n" + listed)


def shipped():
    """The rules that the project ships, as files."""
    files, problems = read_folder(ROOT / "rules")
    assert problems == []
    return files


def shipped_rulebook():
    return compile_rulebook(shipped()).rulebook


def candidate(action, attributes, **more):
    values = {
        "occurred_at": NOW,
        "reporter": "participant",
        "verified": False,
        "partner_id": None,
        **more,
    }
    return Candidate(type=action, attributes=attributes, **values)


def walk(steps=8000, *, rulebook, now=NOW, **attributes):
    """Judge a walk that must be acceptable."""
    judged = judge(rulebook, candidate("mobility.walk", {"steps": steps, **attributes}), now)
    assert isinstance(judged, Judged), judged
    return judged


def decide(rulebook, judged, usage=None, *, region="", streak_days=0):
    return evaluate(
        rulebook,
        judged,
        region=region,
        streak_days=streak_days,
        usage={} if usage is None else usage,
    )
