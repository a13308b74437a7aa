"""Times of JSON as they are kept, where senders write them finer or on a leap second."""

import re
from collections.abc import Iterable

from service.rules.compile.texts import instant_of

# A time of RFC 3339 in its parts, and what only some of them have: digits beyond microseconds.
_TIME = rb"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:)(\d\d)(?:(\.\d{1,6})\d*)?([Zz]|[+-]\d\d:?\d\d)"
_FINER = re.compile(rb"\.\d{7,}[Zz+-]")


def has_finer_times(data: bytes) -> bool:
    """Whether a time may stand there with more digits than microseconds have."""
    return _FINER.search(data) is not None


def kept_times(data: bytes, names: Iterable[str]) -> bytes:
    """The JSON with the times of these members as they are kept.

    Digits beyond microseconds are cut, not rounded, so that a sender which cuts them says the same;
    a leap second, 23:59:60 in UTC, is the second that follows it.
    """
    among = "|".join(map(re.escape, names)).encode()
    return re.sub(rb'("(?:%b)"\s*:\s*")%b(?=")' % (among, _TIME), _kept_time, data)


def kept_time(text: str) -> str:
    """The same for a time alone."""
    return re.sub(rb"()\A%b\Z" % _TIME, _kept_time, text.encode()).decode()


def _kept_time(found: re.Match[bytes]) -> bytes:
    before, day, minute, second, fraction, offset = found.groups(b"")
    kept = day + b"T" + minute + second
    if second == b"60":
        try:
            kept = instant_of((kept + offset.upper()).decode()).isoformat()[:19].encode()
        except (ValueError, OverflowError):
            return found[0]
    return before + kept + fraction + offset
