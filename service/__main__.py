"""The `saxaul` command: one group, to which every part of the program adds its commands."""

import service.interrupt

# isort: split
import asyncio
import sys

import asyncpg
import click
import redis.exceptions

from service import VERSION
from service.address import AddressError
from service.database import DatabaseUnusableError
from service.development.commands import commands as development_commands
from service.embedded import (
    instance_name,
    needs_embedded,
    require_instance,
    reset_home,
    servers,
)
from service.embedded.children import EmbeddedError
from service.errors import SaxaulError
from service.leaderboards.commands import commands as leaderboard_commands
from service.ledger.commands import commands as ledger_commands
from service.operations.commands import commands as operation_commands
from service.participants.commands import commands as participant_commands
from service.partner_kit.commands import commands as partner_commands
from service.partners.commands import commands as partner_key_commands
from service.replay.commands import commands as replay_commands
from service.rules.commands import commands as rule_commands
from service.serve import commands as serve_commands
from service.settings import (
    SettingsError,
    explain_settings,
    load_settings,
    unknown_variables,
)
from service.story.commands import commands as story_commands
from service.supervise import RunError, prepare, run
from service.worker import commands as worker_commands

# Their message is one line that says what a person can do.
_PLAIN = (
    AddressError,
    DatabaseUnusableError,
    EmbeddedError,
    RunError,
    SaxaulError,
    SettingsError,
)
_POSTGRES_GONE = (
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.OperatorInterventionError,
    ConnectionRefusedError,
    ConnectionResetError,
)
_REDIS_GONE = (redis.exceptions.ConnectionError, redis.exceptions.TimeoutError)


class _Commands(click.Group):
    """Says in plain lines what a person can mend; every other exception stays what it is."""

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except _PLAIN as error:
            click.echo(str(error), err=True)
        except PermissionError as error:
            click.echo(f"{error.filename}: {error.strerror}", err=True)
        except _POSTGRES_GONE as error:
            click.echo(f"PostgreSQL does not answer any more: {error}", err=True)
        except _REDIS_GONE as error:
            click.echo(f"Redis does not answer: {error}", err=True)
        sys.exit(1)


@click.group(cls=_Commands)
@click.version_option(VERSION, prog_name="saxaul")
def main() -> None:
    """Saxaul, a backend for personal carbon points."""
    for line in unknown_variables().values():
        click.echo(line, err=True)


service.interrupt.be_heard()


@main.command("run")
def run_all() -> None:
    """Start everything: servers, migrations, API and worker. Ctrl-C stops it."""
    asyncio.run(run(load_settings(), click.echo))


@main.command("migrate")
def migrate_database() -> None:
    """Bring the database to the form that this version wants."""

    async def migrate_found() -> None:
        settings = load_settings()
        require_instance(settings)
        async with servers(settings, "saxaul migrate") as found:
            await prepare(settings, found, click.echo)

        click.echo(f"{instance_name(settings)} is up to date")

    asyncio.run(migrate_found())


@main.command("reset")
def reset() -> None:
    """Empty the state folder: people, grams, keys, everything embedded."""
    settings = load_settings()
    if not needs_embedded(settings):
        click.echo("SAXAUL_DATABASE_URL is set: only embedded servers are reset.", err=True)
        sys.exit(1)
    if not settings.home.exists():
        click.echo(f"there is nothing in {settings.home} (SAXAUL_HOME names another folder)")
        return
    asyncio.run(reset_home(settings))
    click.echo(f"{settings.home} is empty")


@main.group()
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


for _command in (
    *development_commands,
    *leaderboard_commands,
    *ledger_commands,
    *operation_commands,
    *participant_commands,
    *partner_key_commands,
    *partner_commands,
    *replay_commands,
    *rule_commands,
    *serve_commands,
    *story_commands,
    *worker_commands,
):
    main.add_command(_command)


if __name__ == "__main__":
    main(prog_name="saxaul")
