"""A place for an instance that is started beside others."""

import random
import socket
from contextlib import suppress


def free_port() -> int:
    """A port of 127.0.0.1 that nobody has, for an instance that starts in a moment.

    Not one that the kernel would choose: it might give the same to an outgoing connection before
    the instance listens. Its range begins at 32,768 on Linux and higher elsewhere.
    """
    while True:
        port = random.randrange(20_000, 32_768)  # noqa: S311 - nothing secret
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
