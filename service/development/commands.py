"""`saxaul dev`: what a developer needs at the command line."""

import sys

import click

from service.auth import SCOPES, Realm
from service.clock import Clock
from service.development.issuer import DevelopmentIssuer, NotInDevelopmentError, key_file
from service.embedded import NoInstanceError
from service.settings import load_settings


@click.group()
def dev() -> None:
    """Conveniences of development mode."""


@dev.command()
@click.argument("subject")
@click.option("--operator", is_flag=True, help="A token of an operator instead of a participant.")
@click.option("--scope", "scopes", multiple=True, help="A scope of the operator; default: all.")
def token(subject: str, *, operator: bool, scopes: tuple[str, ...]) -> None:
    """Print a token for SUBJECT that holds for 24 hours."""
    if unknown := set(scopes) - set(SCOPES):
        raise click.BadParameter(f"{min(unknown)} is none of {', '.join(SCOPES)}")
    if not subject.strip():
        raise click.UsageError("SUBJECT names somebody: it cannot be empty.")
    settings = load_settings()
    if settings.development_mode and not key_file(settings).exists():
        # A key made here would sign tokens that no API believes.
        raise NoInstanceError(settings.home)
    realm: Realm = "operator" if operator else "participant"
    try:
        issuer = DevelopmentIssuer(settings)
    except (NotInDevelopmentError, OSError) as error:
        click.echo(str(error), err=True)
        sys.exit(1)
    granted = (scopes or SCOPES) if operator else ()
    click.echo(issuer.sign(realm, subject, granted, Clock().real_now()))


commands: list[click.Command] = [dev]
