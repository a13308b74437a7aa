"""Small rule sets for tests, and the shipped ones."""

from datetime import UTC, datetime
from pathlib import Path

import yaml

from service.rules.compile.draft import compile_rulebook
from service.rules.decide.evaluate import evaluate
from service.rules.decide.judge import Candidate, Judged, judge
from service.rules.language.load import read_folder

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

# The example of the language's own page.
SAMPLE = """
program:                                   # exactly once over all files
  name: Saxaul demo city
  language: en
  timezone: Asia/Shanghai
  energy: {ripens: {next_day_at: "07:00"}, expires_after: 72h}
  taking: {share: 0.3, max_g: 30, keep_share: 0.6, per_friend_and_bubble: 1, after_ripening: 0s}
  watering: {amounts_g: [10, 18, 33, 66], per_friend_per_day: 3}
  shield: {lasts: 24h, per_week: 1}
factors:
  petrol_car_pkm: {value: 101, unit: g/pkm, source: "UK, car", url: "https://a.example", year: 2026}
  metro_pkm: {value: 15.49, unit: g/pkm, source: "UK DESNZ 2026, London Underground", year: 2026}
action_types:
  transit.metro_trip:
    title: Metro trip
    category: mobility
    hint: Take the metro instead of the car
    reported_by: [partner]
    attributes:
      distance_km: {type: number, minimum: 0.1, maximum: 120, unit: km}
      duration_min: {type: number, minimum: 1, maximum: 300, unit: min, required: false}
      ticket_no: {type: string, max_length: 64, pattern: "[A-Z0-9-]+", required: false}
    accepted_for: 7d
    plausible: "!has(duration_min) || distance_km / (duration_min / 60) <= 90"
    lasts: duration_min
    overlap: exclusive
    claim: {by: ticket_no, per: ever, within: partner}
rules:
  - id: metro-trip
    action: transit.metro_trip
    title: Metro instead of a petrol car
    from: 2026-01-01
    when: verified && distance_km >= 0.5
    saves: distance_km * (factors.petrol_car_pkm - factors.metro_pkm)
    earns: 52
    limits:
      - {per: day, count: 5}
      - {per: month, grams: 3000}
      - {per: day, count: 10, group: tickets}
      - {per: month, count: 9, by: ticket_no}
    examples:
      - name: a normal commute
        given: {distance_km: 8.2}
        context: {verified: true}
        expect: {saves: 701, earns: 52}
campaigns:
  - id: world-environment-day-2027
    title: World Environment Day
    from: 2027-06-05
    until: 2027-06-06
    rules: [metro-trip]
    regions: [CN-ZJ]
    earns_times: 2
    budget_g: 5000000
badges:
  - {id: commuter, title: Commuter, needs: {action: transit.metro_trip, count: 20}}
  - {id: week-streak, title: Seven green days, needs: {streak_days: 7}}
  - {id: first-tree, title: First tree, needs: {trees: 1}}
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


def content_of(text):
    """What a YAML file holds, read by PyYAML itself."""
    return yaml.load(text, Loader=_Plain)


class _Plain(yaml.SafeLoader):
    """Dates stay text, as YAML 1.2 has them."""


_Plain.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith("timestamp")]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
