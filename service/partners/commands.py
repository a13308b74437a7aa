"""`saxaul keys`: the master key that partners' secrets are kept under."""

import sys

import click

from service.instance.open import Instance, on_instance
from service.partners.administer import rewrap_keys
from service.partners.envelope import master_keys
from service.platform.settings import with_secret_key


@click.group()
def keys() -> None:
    """Keys of partners and the master key over them."""


@keys.command("rewrap")
def rewrap_all() -> None:
    """Bring partners' secrets under the current master key, after a change of it.

    SAXAUL_MASTER_KEY holds the new key, SAXAUL_MASTER_KEY_BEFORE the old one; afterwards the old
    one is needed no more. Exit code 1 when a secret could not be opened.
    """
    done, failed = on_instance("saxaul keys rewrap", _rewrap)
    click.echo(f"{done} secrets lie under the current master key now")
    for line in failed:
        click.echo(line, err=True)
    sys.exit(1 if failed else 0)


async def _rewrap(instance: Instance) -> tuple[int, list[str]]:
    async with instance.database.transaction() as connection:
        return await rewrap_keys(connection, master_keys(with_secret_key(instance.settings)))
