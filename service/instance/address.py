"""Where the API listens: its address as this machine reaches it, and whether that place is free."""

import asyncio
import errno
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from service.platform.errors import PlainError
from service.platform.settings import Settings

# The sockets of a run that was killed close within moments.
_PATIENCE_S = 3.0


class AddressError(PlainError):
    """Nothing of ours can listen there."""


def url_of(settings: Settings) -> str:
    """The address under which this machine reaches the API."""
    host = _reachable_host(settings)
    return f"http://[{host}]:{settings.port}" if ":" in host else f"http://{host}:{settings.port}"


async def find_port_free(settings: Settings) -> None:
    """Wait a moment for whoever is about to leave the port. Raises AddressError."""
    deadline = time.monotonic() + _PATIENCE_S
    while not _is_port_free(settings):
        if time.monotonic() > deadline:
            raise AddressError(
                f"{settings.host}:{settings.port} is in use by another program:"
                " set SAXAUL_PORT to a free port."
            )
        await asyncio.sleep(0.1)


@contextmanager
def guarded_port(settings: Settings) -> Iterator[str]:
    """The address to listen on, where nobody else of ours comes in before our processes listen.

    They share the port among themselves (SO_REUSEPORT), and would share it with another instance,
    too. This socket lets them in and fails the probe of everybody who asks first.
    """
    family, place = _place(settings)
    with socket.socket(family, socket.SOCK_STREAM) as guard:
        guard.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        guard.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        guard.bind(place)
        # Bound beside connections of a run before; from now on it stands in the way.
        guard.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
        yield place[0]


def _is_port_free(settings: Settings) -> bool:
    try:
        family, place = _place(settings)
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            # Connections of a run before, still in TIME_WAIT, do not matter. Never SO_REUSEPORT:
            # with it the port of a running instance would look free.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(place)
            probe.listen()
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            return False
        raise AddressError(
            f"cannot listen on {settings.host}:{settings.port}: {error.strerror}"
            " (SAXAUL_HOST and SAXAUL_PORT name another address)."
        ) from error
    # The place is ours; whoever accepts there nevertheless holds it by another address.
    with suppress(OSError):
        socket.create_connection((_reachable_host(settings), settings.port), timeout=1).close()
        return False
    return True


def _place(settings: Settings) -> tuple[int, tuple[str, int]]:
    """The family of addresses, and what to bind."""
    found = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM)
    family, _, _, _, place = found[0]
    return family, (str(place[0]), int(place[1]))


def _reachable_host(settings: Settings) -> str:
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host, settings.host)  # noqa: S104
