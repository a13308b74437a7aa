"""`saxaul rules test` and `schema`: what rules promise is tried, and what may stand in them."""

import sys
from pathlib import Path

import click

from service.rulebooks.commands_report import (
    FOLDER,
    FORMAT,
    STRICT,
    Format,
    exit_code,
    pretty,
    print_json,
    report,
)
from service.rules.language import scenario_schema
from service.rules.language.editor_schema import json_schema
from service.rules.trial.check import problems_json, try_folder


@click.command()
@FOLDER
@FORMAT
@STRICT
@click.option(
    "--coverage", "covers", is_flag=True, help="Tell which rules and limits no test reached."
)
@click.option(
    "--min-coverage",
    "least",
    type=click.IntRange(0, 100),
    help="Fail below so many per cent; implies --coverage.",
)
def test(folder: Path, form: Format, *, strict: bool, covers: bool, least: int | None) -> None:
    """Check the rule files of FOLDER, run their examples and the scenarios in FOLDER/tests."""
    trial = try_folder(folder)
    coverage = trial.coverage if covers or least is not None else None
    is_low = coverage is not None and least is not None and coverage.percent < least
    if form == "json":
        more = {} if coverage is None else {"coverage": coverage.as_json()}
        print_json({**problems_json(trial.problems), **more})
    else:
        report(trial.problems, form, "\n".join(trial.summary))
        for line in () if coverage is None else coverage.as_lines():
            click.echo(line)
        if is_low:
            click.echo(f"at least {least} % are wanted")
    sys.exit(exit_code(trial.problems, strict=strict) or int(is_low))


@click.command()
@click.option("--scenarios", "of_scenarios", is_flag=True, help="That of scenario files instead.")
def schema(*, of_scenarios: bool) -> None:
    """Print the JSON Schema of rule files, for editors."""
    click.echo(schema_text(of_scenarios=of_scenarios), nl=False)


def schema_text(*, of_scenarios: bool = False) -> str:
    """A JSON Schema as it stands in the folder openapi/."""
    return f"{pretty(scenario_schema.json_schema() if of_scenarios else json_schema())}\n"
