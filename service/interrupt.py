"""Ctrl-C while the program is still loading: it ends at once, without a word.

Imported before everything else, because loading takes a second; `be_heard` hands over to what the
commands make of a Ctrl-C.
"""

import os
import signal

_INTERRUPTED = 130


def be_heard() -> None:
    """Let Ctrl-C be the exception again that commands expect."""
    if signal.getsignal(signal.SIGINT) is _end:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _end(_number: int, _frame: object) -> None:
    os._exit(_INTERRUPTED)


# A background job of a shell ignores Ctrl-C, and shall go on to do so.
if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, _end)
