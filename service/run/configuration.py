"""`saxaul config`: what can be set, and what is set."""

import click

from service.platform.settings import SettingsError, explain_settings


@click.group()
def config() -> None:
    """What can be set, and what is set."""


@config.command("show")
def show_config() -> None:
    """Print every setting: variable, value (secrets masked), default, meaning."""
    explained = list(explain_settings())
    for setting in explained:
        click.echo(f"{setting.variable} = {setting.value}")
        if setting.fault:
            click.echo(f"    FAULT: {setting.fault}")
        click.echo(f"    default: {setting.default or 'empty'}")
        click.echo(f"    {setting.meaning}")
    faults = [f"{setting.variable}: {setting.fault}" for setting in explained if setting.fault]
    if faults:
        raise SettingsError(faults)
