"""The programme: from its struct to what judging and paying need."""

import datetime as dt
import re
import zoneinfo
from functools import cache

from service.rules.cel.text import did_you_mean
from service.rules.compile.texts import duration, refuse_unseen
from service.rules.decide.rulebook import Program, Ripening, Shield, Taking
from service.rules.language import schema
from service.rules.language.shape import Source

# Whatever lies beside the zones (posix/, right/, localtime) begins with a small letter.
_ZONE_NAME = re.compile(r"[A-Z][\w+-]*(/[A-Z][\w+-]*)*", re.ASCII)
# Names that the zones' folder has and nobody lives in: the first is another one on each machine.
_NO_ZONES = frozenset(("localtime", "Factory"))


def compile_program(source: Source, shape: schema.Program) -> Program | None:
    """Read the programme; None when something in it cannot be."""
    refuse_unseen(source.at("name"), shape.name)
    before = len(source.problems)
    zone = _zone(source.at("timezone"), shape.timezone)
    ripening = _ripening(source.at("energy", "ripens"), shape.energy.ripens)
    expires_after = _long(source.at("energy", "expires_after"), shape.energy.expires_after)
    shield = Shield(_long(source.at("shield", "lasts"), shape.shield.lasts), shape.shield.per_week)
    after_ripening = _short(source.at("taking", "after_ripening"), shape.taking.after_ripening)
    if len(source.problems) > before or zone is None:
        return None
    _warn_of_idle_play(source, shape, is_lost_first=after_ripening >= expires_after)
    of = shape.taking
    taking = Taking(of.share, of.max_g, of.keep_share, of.per_friend_and_bubble, after_ripening)
    return Program(
        name=shape.name,
        language=shape.language,
        timezone=zone,
        ripening=ripening,
        expires_after=expires_after,
        taking=taking,
        watering=shape.watering,
        shield=shield,
    )


def _warn_of_idle_play(source: Source, shape: schema.Program, *, is_lost_first: bool) -> None:
    """Tell of what the programme promises to friends and never lets happen."""
    taking = shape.taking
    if is_lost_first:
        message = "friends can never take: a ripe bubble is lost after"
        lost_after = shape.energy.expires_after
        source.at("taking", "after_ripening").warn(f"{message} {lost_after}")
    left = 1 - taking.keep_share
    if taking.share > left + 1e-9:
        message = f"nobody can take a share of {taking.share:g}: keep_share {taking.keep_share:g}"
        source.at("taking", "share").warn(f"{message} leaves {left:.6g}")
    source.at("watering", "amounts_g").once(shape.watering.amounts_g)


def _long(source: Source, text: str) -> dt.timedelta:
    if not duration(text):
        source.fault(f"{source.path[-1]} must be longer than 0")
    return _short(source, text)


def _short(source: Source, text: str, days_max: int = 3660) -> dt.timedelta:
    """A duration that may be 0."""
    length = duration(text)
    if length > dt.timedelta(days=days_max):
        source.fault(f"{source.path[-1]} must be at most {days_max}d")
    return length


@cache
def _zones() -> frozenset[str]:
    """Every zone's name; finding them opens hundreds of files."""
    return frozenset(zoneinfo.available_timezones() - _NO_ZONES)


def _zone(source: Source, name: str) -> zoneinfo.ZoneInfo | None:
    if _ZONE_NAME.fullmatch(name) and name not in _NO_ZONES:
        try:
            return zoneinfo.ZoneInfo(name)
        except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
            pass  # so it is none, and those that there are will be listed
    known = _zones()
    if name in known:
        return zoneinfo.ZoneInfo(name)
    hint = did_you_mean(name, known) or "; it is an IANA name, like Asia/Shanghai"
    source.fault(f"there is no time zone {name}{hint}")
    return None


def _ripening(source: Source, shape: schema.Ripens) -> Ripening:
    source.needs_one_of("ripens", "next_day_at", "after")
    if shape.next_day_at is not None:
        return Ripening(dt.time.fromisoformat(shape.next_day_at), dt.timedelta())
    return Ripening(None, _short(source.at("after"), shape.after or "0s", days_max=366))
