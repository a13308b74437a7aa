"""`saxaul rules explain`: every step of an award, of an example or of what was recorded."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

import click
import msgspec

from service.http.faults import has_names_twice
from service.instance.open import Instance, on_instance
from service.platform.errors import NotFoundError
from service.rulebooks.checked import files_of
from service.rulebooks.commands_report import FORMAT, Format, print_json, problems_told, sets_of
from service.rules.cel.text import did_you_mean
from service.rules.compile.texts import instant_of
from service.rules.decide.evaluate import Award
from service.rules.decide.judge import Candidate, Refusal
from service.rules.decide.standing import award_of
from service.rules.language import schema
from service.rules.tell.rule_set import RuleSet
from service.rules.tell.steps import Facts, Step, explain_steps, lines_of
from service.rules.trial.examples import decide_example, example_candidate


@dataclass(frozen=True, slots=True)
class _Told:
    """What one rule made of an action."""

    rule: str
    title: str
    steps: list[Step]


@click.command("explain")
@click.argument("rule", required=False)
@click.option("--given", default="{}", help="The action's attributes, as JSON.")
@click.option(
    "--context",
    default="{}",
    help="verified, occurred_at, region, streak_days, as JSON; as in examples.",
)
@click.option("--rules", "source", default="rules", help="A folder, a version or `active`.")
@click.option("--action", type=click.UUID, help="An action that was recorded, by its id.")
@click.option("--participant", type=click.UUID, help="Whose action: it is found at once then.")
@FORMAT
def explain(
    rule: str | None,
    given: str,
    context: str,
    source: str,
    *,
    action: UUID | None,
    participant: UUID | None,
    form: Format,
) -> None:
    """Tell every step of what RULE makes of the attributes --given, with numbers and sources.

    Or of a recorded --action, by the version of the rules that decided it.
    """
    if (rule is None) == (action is None):
        raise click.UsageError("Name a rule, or a recorded action with --action.")
    with problems_told(form):
        if action is not None:
            head, told = on_instance("saxaul rules explain", _recorded, action, participant)
        else:
            head, told = _example(str(rule), given, context, source)
    if form == "json":
        print_json({"about": head, "awards": told})
        return
    for line in head:
        click.echo(line)
    for one in told:
        click.echo(f"{one.rule}: {one.title}")
        for line in lines_of(one.steps):
            click.echo(f"  {line}")


def _example(rule_id: str, given: str, context: str, source: str) -> tuple[list[str], list[_Told]]:
    """What a rule makes of values that somebody thought of; no database for a folder."""
    example = schema.Example(
        expect=schema.Expect(),
        given=_decoded(given, dict[str, schema.Scalar], "--given"),
        context=_decoded(context, schema.ExampleContext, "--context"),
    )
    try:
        # The shape allows for days that no month has.
        instant_of(example.context.occurred_at or "2000-01-01")
    except ValueError as error:
        raise click.UsageError(f"--context: there is no such time: {error}") from error
    (files,) = sets_of("saxaul rules explain", source)
    rules = RuleSet(files)
    shape = rules.rules.get(rule_id)
    if shape is None:
        hint = did_you_mean(rule_id, rules.rules)
        raise click.UsageError(f"There is no rule {rule_id}{hint or '.'}")
    compiled = rules.rulebook.rules[rule_id]
    award = decide_example(rules.rulebook, compiled, example)
    facts = Facts(
        example_candidate(rules.rulebook, compiled, example),
        example.context.region,
        example.context.streak_days,
    )
    return [], [_told(rules, rule_id, facts, None if isinstance(award, Refusal) else award)]


def _decoded(text: str, kind: Any, option: str) -> Any:
    try:
        decoded = msgspec.json.decode(text, type=kind)
    except msgspec.DecodeError as error:
        raise click.UsageError(f"{option}: {error}") from error
    if has_names_twice(text.encode()):
        raise click.UsageError(f"{option}: a name is given more than once")
    return decoded


async def _recorded(
    instance: Instance, action_id: UUID, participant_id: UUID | None
) -> tuple[list[str], list[_Told]]:
    """What decided a recorded action, with the version of the rules of then."""
    async with instance.database.pool.acquire() as connection:
        row = await connection.fetchrow(_ACTION, action_id, participant_id)
        if row is None:
            raise NotFoundError("There is no action {action_id}.", action_id=action_id)
        version = row["rulebook_version"]
        files = await files_of(connection, version)
        published = await connection.fetchrow(_PUBLISHED, version)
    rules = RuleSet(files)
    assert published is not None  # versions are never deleted
    at, sha256 = published["created_at"], published["sha256"].hex()[:12]
    head = [
        f"action {action_id}, {row['type']}, recorded {row['recorded_at']:%Y-%m-%d %H:%M}Z",
        f"decided by version {version} (rules hash {sha256}) of {at:%Y-%m-%d %H:%M}Z",
        f"published by {published['author']}: {published['note']}",
    ]
    if row["reversed_at"] is not None:
        why = f": {row['why']}" if row["why"] else ""
        head.append(f"taken back {row['reversed_at']:%Y-%m-%d %H:%M}Z, with all that follows{why}")
    if row["attributes"] is None:
        head.append("what was reported is erased; the awards stand")
        head += [
            f"{award['rule']}: {award['energy_g']} g of energy, {award['saved_g']} g CO2e saved"
            for award in row["awards"]
        ]
        return head, []
    given = {n: row[n] for n in ("type", "attributes", "occurred_at", "reporter", "verified")}
    candidate = Candidate(**given, partner_id=None)
    facts = Facts(candidate, row["region"], row["streak_days"])
    if not row["awards"]:
        head.append("no rule applied to it")
    return head, [_told(rules, award["rule"], facts, award_of(award)) for award in row["awards"]]


def _told(rules: RuleSet, rule_id: str, facts: Facts, award: Award | None) -> _Told:
    shape = rules.rules[rule_id]
    steps = explain_steps(rules.rulebook, rules.types[shape.action], shape, facts, award)
    return _Told(rule_id, rules.rulebook.rules[rule_id].title.default, steps)


_ACTION = """
SELECT a.type, a.attributes, a.occurred_at, a.recorded_at, a.reporter, a.verified, a.region,
    a.streak_days, a.rulebook_version, a.awards, r.recorded_at AS reversed_at,
    r.attributes ->> 'reason' AS why
FROM actions a LEFT JOIN actions r ON r.participant_id = a.participant_id
    AND r.occurred_at = a.occurred_at AND r.reverses = a.id
WHERE a.id = $1 AND a.kind = 'action' AND ($2::uuid IS NULL OR a.participant_id = $2)"""
_PUBLISHED = "SELECT created_at, author, note, sha256 FROM rulebooks WHERE version = $1"
