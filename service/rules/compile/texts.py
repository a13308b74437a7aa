"""What several sections hold: texts for people, durations, dates and expressions."""

import datetime as dt
from collections.abc import Iterable

from service.rules.cel.tokens import Finding
from service.rules.decide.languages import Text
from service.rules.language.shape import Source
from service.rules.unseen import unseen_in

UNITS_S = {"s": 1, "min": 60, "h": 3600, "d": 86_400}


def duration(text: str) -> dt.timedelta:
    """Read a duration such as 72h, whose shape was checked."""
    digits = text.rstrip("sminhd")
    return dt.timedelta(seconds=int(digits) * UNITS_S[text[len(digits) :]])


def instant_of(text: str, zone: dt.tzinfo | None = None) -> dt.datetime:
    """Read a moment, in this zone if it has no offset, and 23:59:60 in UTC. Raises ValueError."""
    if text[16:19] == ":60":
        instant = dt.datetime.fromisoformat(f"{text[:17]}59{text[19:]}") + dt.timedelta(seconds=1)
        if instant.tzinfo and f"{instant.astimezone(dt.UTC):%T}" == "00:00:00":
            return instant
    instant = dt.datetime.fromisoformat(text)
    return instant if instant.tzinfo else instant.replace(tzinfo=zone)


def localized(source: Source, text: str | dict[str, str], language: str) -> Text:
    """Take a title or hint in one or several languages; plain text is in the programme's."""
    refuse_unseen(source, text if isinstance(text, str) else "".join(text.values()))
    if isinstance(text, str):
        return Text(text, {}, language)
    if text and language not in text:
        source.warn(f"there is no text in {language}, the programme's language")
    own = language if language in text else next(iter(text), language)
    return Text(text.get(own, ""), text, own)


def refuse_unseen(source: Source, text: str) -> None:
    """Note what nobody sees in a text for people."""
    if found := unseen_in(text):
        source.fault_if_new(f"this text must not hold the character {found}")


def check_dates(source: Source, starts_on: dt.date | None, ends_before: dt.date | None) -> None:
    """Find dates that exclude each other."""
    if starts_on and ends_before and starts_on >= ends_before:
        message = f"until {ends_before} is not after from {starts_on}"
        source.at("until").fault(f"{message}; until is the day after the last")


def note_findings(source: Source, findings: Iterable[Finding]) -> None:
    """Note what was found in an expression, each at its own place inside the text."""
    for finding in findings:
        source.fault(finding.message, offset=finding.offset, severity=finding.severity)
