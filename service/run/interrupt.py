"""Ctrl-C while the program is still loading: it ends at once, without a word.

Imported before everything else, because loading takes a second; `be_heard` hands over to what the
commands make of a Ctrl-C.
"""

import os
import signal
import threading

_INTERRUPTED = 130


def be_quiet() -> None:
    """End at once on Ctrl-C, from here on. A background job of a shell goes on ignoring it."""
    if _is_main() and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _end)


def be_heard() -> None:
    """Let Ctrl-C be the exception again that commands expect."""
    if _is_main() and signal.getsignal(signal.SIGINT) is _end:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _is_main() -> bool:
    """Signals are the main thread's alone."""
    return threading.current_thread() is threading.main_thread()


def _end(_number: int, _frame: object) -> None:
    os._exit(_INTERRUPTED)


be_quiet()
