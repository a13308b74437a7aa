"""`saxaul run`, `migrate` and `reset`: the life of an instance, from the command line."""

import asyncio
import sys

import click

from service.instance.home import is_there
from service.instance.servers import (
    instance_name,
    needs_embedded,
    require_instance,
    reset_home,
    servers,
)
from service.platform.settings import load_settings
from service.run.supervise import bring_up_to_date, has_rules, prepare, run


@click.command("run")
def run_all() -> None:
    """Start everything: servers, migrations, API and worker. Ctrl-C stops it."""
    asyncio.run(run(load_settings(), click.echo))


@click.command("migrate")
def migrate_database() -> None:
    """Bring the database to the form that this version wants.

    Where no rules decide yet, those of SAXAUL_RULES_DIR are published; rules that were published
    before stay as they are.
    """

    async def migrate_found() -> None:
        settings = load_settings()
        require_instance(settings)
        async with servers(settings, "saxaul migrate") as found:
            await bring_up_to_date(settings, found)
            if not await has_rules(found):
                await prepare(settings, found, click.echo)

        click.echo(f"{instance_name(settings)} is up to date")

    asyncio.run(migrate_found())


@click.command("reset")
def reset() -> None:
    """Empty the state folder: people, grams, keys, everything embedded."""
    settings = load_settings()
    if not needs_embedded(settings):
        click.echo("SAXAUL_DATABASE_URL is set: only embedded servers are reset.", err=True)
        sys.exit(1)
    if not is_there(settings.home):
        click.echo(f"there is nothing in {settings.home} (SAXAUL_HOME names another folder)")
        return
    asyncio.run(reset_home(settings))
    others = sorted(path.name for path in settings.home.iterdir() if path.name != "lock")
    stays = f"; what else lies there stays: {', '.join(others)}" if others else ""
    click.echo(f"the instance in {settings.home} is gone{stays}")
