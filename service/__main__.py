"""The `saxaul` command: one group, to which every part of the program adds its commands."""

import sys

import click

from service.settings import SettingsError, explain_settings, load_settings, unknown_variables


class _Commands(click.Group):
    """Says a fault of the settings in plain lines; every other exception stays what it is."""

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except SettingsError as error:
            for problem in error.problems:
                click.echo(problem, err=True)
            sys.exit(1)


@click.group(cls=_Commands)
def main() -> None:
    """Saxaul, a backend for personal carbon points."""


@main.group()
def config() -> None:
    """What can be set, and what is set."""


@config.command("show")
def show_config() -> None:
    """Print every setting: variable, value (secrets masked), default, meaning."""
    for setting in explain_settings(load_settings()):
        default = setting.default or "empty"
        click.echo(f"{setting.variable} = {setting.value}")
        click.echo(f"    default: {default}")
        click.echo(f"    {setting.meaning}")
    for variable in unknown_variables():
        click.echo(f"{variable} is set and means nothing here.", err=True)


if __name__ == "__main__":
    main()
