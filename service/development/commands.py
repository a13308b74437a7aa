"""`saxaul dev`: what a developer needs at the command line."""

import click
import httpx
import msgspec

from service.development.issuer import DevelopmentIssuer, NotInDevelopmentError, key_file
from service.http.auth import SCOPES, Realm
from service.instance.address import url_of
from service.instance.home import Home
from service.instance.servers import NoInstanceError
from service.platform.clock import Clock
from service.platform.settings import Settings, load_settings
from service.platform.terminal import typed

_TIMEOUT_S = 60


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
    click.echo(_sign(load_settings(), subject, "operator" if operator else "participant", scopes))


@dev.command()
@click.argument("path")
@click.option("--as", "subject", default="demo-alice", show_default=True, help="Who asks.")
@click.option("--operator", is_flag=True, help="Ask as an operator instead of a participant.")
@click.option("-X", "--method", help="The method; default: GET, or POST with a body.")
@click.option("-d", "--data", help="The body: JSON, @FILE or, from stdin, @-.")
@click.option("-H", "--header", "headers", multiple=True, help="One more header, NAME: VALUE.")
def curl(
    path: str,
    subject: str,
    *,
    operator: bool,
    method: str | None,
    data: str | None,
    headers: tuple[str, ...],
) -> None:
    """Ask the running API for PATH, such as /v1/me, with a token, and print its answer.

    Exit code 1, and the status on stderr, when that is no success.
    """
    settings = load_settings()
    signed = _sign(settings, subject, "operator" if operator else "participant", ())
    sent = {"Authorization": f"Bearer {signed}"} | dict(map(_header, headers))
    if data is not None:
        sent = {"Content-Type": "application/json"} | sent
    note = Home(settings.home).read_note()
    url = f"{(note and note.url) or url_of(settings)}/{path.lstrip('/')}"
    method = method or ("GET" if data is None else "POST")
    with httpx.Client(headers=sent, trust_env=False, timeout=_TIMEOUT_S) as client:
        try:
            answer = client.request(method, url, content=None if data is None else _body(data))
        except (httpx.TransportError, httpx.InvalidURL) as error:
            told = f"{url} does not answer ({error}): `{typed('run')}` starts it."
            raise click.ClickException(told) from error
    text = answer.text
    if "json" in answer.headers.get("content-type", ""):
        text = msgspec.json.format(text)
    click.echo(text, nl=not text.endswith("\n"))
    if not answer.is_success:
        raise click.ClickException(f"{answer.status_code} {answer.reason_phrase}")


def _sign(settings: Settings, subject: str, realm: Realm, scopes: tuple[str, ...]) -> str:
    if not subject.strip():
        raise click.UsageError("SUBJECT names somebody: it cannot be empty.")
    if settings.development_mode and not key_file(settings).exists():
        # A key made here would sign tokens that no API believes.
        raise NoInstanceError(settings.home)
    try:
        issuer = DevelopmentIssuer(settings)
    except (NotInDevelopmentError, OSError) as error:
        raise click.ClickException(str(error)) from error
    granted = (scopes or SCOPES) if realm == "operator" else ()
    return issuer.sign(realm, subject, granted, Clock().real_now())


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon:
        raise click.BadParameter(f"{text!r} is no header: write NAME: VALUE")
    return name.strip(), value.strip()


def _body(data: str) -> bytes:
    if not data.startswith("@"):
        return data.encode()
    try:
        with click.open_file(data[1:], "rb") as file:
            return bytes(file.read())
    except OSError as error:
        raise click.BadParameter(f"{data[1:]}: {error.strerror}") from error
