"""`saxaul openapi`: writes what is generated from the code."""

from pathlib import Path

import click

from service.app import create_app
from service.platform.settings import Settings
from service.rulebooks.commands_test import schema_text
from service.run.openapi import openapi_text

_FOLDER = Path(__file__).parent.parent.parent / "openapi"


@click.command()
def openapi() -> None:
    """Write openapi/openapi.json and the JSON Schemas of rules and scenarios."""
    _FOLDER.mkdir(exist_ok=True)
    for name, content in generated().items():
        (_FOLDER / name).write_bytes(content)
        click.echo(f"openapi/{name}")


def generated() -> dict[str, bytes]:
    """The generated files by name; those of development mode, which offers most."""
    return {
        "openapi.json": openapi_text(create_app(Settings())),
        "rules.schema.json": schema_text().encode(),
        "scenarios.schema.json": schema_text(of_scenarios=True).encode(),
    }
