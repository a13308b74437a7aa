"""`saxaul participants`: who was erased, and erasing them again after a restore."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import click

from service.instance.open import Instance, on_instance
from service.ledger.books import BookMissingError
from service.ledger.lanes import Lanes
from service.platform.log import configure_logging
from service.platform.settings import with_secret_key
from service.privacy.erase import erase_participant, list_erasures
from service.rulebooks.publish import Rulebooks


@click.group()
def participants() -> None:
    """People: who was erased."""


@participants.command("erased")
def list_erased() -> None:
    """Print who was erased and when, one a line: keep it apart from the backups."""
    on_instance("saxaul participants erased", _list)


@participants.command("erase-again")
@click.argument(
    "path", metavar="FILE", type=click.Path(exists=True, dir_okay=False, path_type=Path)
)
def erase_again(path: Path) -> None:
    """Erase everybody who stands in FILE: to be done when a backup was restored.

    FILE is what `saxaul participants erased` printed. Who is erased already, or is not there in
    the restored database, is passed over.
    """
    configure_logging("warning")
    on_instance("saxaul participants erase-again", _erase_again, list(_ids(path)))


def _ids(path: Path) -> Iterator[UUID]:
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if words := line.split():
            try:
                yield UUID(words[0])
            except ValueError:
                raise click.ClickException(f"{path}:{number}: begins with no id.") from None


async def _list(instance: Instance) -> None:
    async for participant_id, erased_at in list_erasures(instance.database):
        click.echo(f"{participant_id} {erased_at:%Y-%m-%dT%H:%M:%SZ}")


async def _erase_again(instance: Instance, ids: list[UUID]) -> None:
    done = Counter[str]()
    rulebooks = Rulebooks(instance.database)
    await rulebooks.look()
    settings = with_secret_key(instance.settings)
    lanes = Lanes(instance.database, instance.clock, lambda: rulebooks.active, settings)
    lanes.start()
    for participant_id in ids:
        try:
            is_new = await erase_participant(lanes, participant_id)
        except BookMissingError:
            done["unknown"] += 1
        else:
            done["erased" if is_new else "before"] += 1
    await lanes.stop()
    told = "{erased} erased, {before} were erased already, {unknown} are not there"
    click.echo(told.format_map(done))
