"""What holds for everybody: the programme's clock, and what its rules allow."""

from datetime import UTC, datetime

import msgspec
from msgspec import Struct

from service.http.access import Request, get
from service.http.answer import JsonAnswer
from service.http.decode import Time
from service.http.problems import reader_of
from service.http.public_answer import public_answer
from service.http.shared import shared
from service.platform.clock import Clock
from service.platform.database import Database
from service.rulebooks.budgets import read_left
from service.rulebooks.publish import Rulebooks
from service.rules.decide.rulebook import Program
from service.rules.tell.catalogue import CampaignAnswer, list_campaigns, running_campaigns

_ANY_TIME = datetime(2000, 1, 1, tzinfo=UTC)


class RipeningTerms(Struct, frozen=True):
    """Energy ripens at this time of the next day of the programme, or after so many seconds."""

    next_day_at: str | None
    after_s: int | None


class TakingTerms(Struct, frozen=True):
    """What friends may take from a ripe bubble, and what always stays."""

    share: float
    max_g: int
    keep_share: float
    per_friend_and_bubble: int
    after_ripening_s: int


class WateringTerms(Struct, frozen=True):
    """What may be given to a friend, and how often a day."""

    amounts_g: list[int]
    per_friend_per_day: int


class ShieldTerms(Struct, frozen=True):
    """How long a forest can be closed, and how often a week."""

    lasts_s: int
    per_week: int


class ProgramTerms(Struct, frozen=True):
    """The programme. Days, weeks and months are counted in its time zone."""

    name: str
    timezone: str
    now: Time
    ripening: RipeningTerms
    expires_after_s: int
    taking: TakingTerms
    watering: WateringTerms
    shield: ShieldTerms
    rulebook_version: int
    campaigns: list[CampaignAnswer]


@get("/v1/program", "public", answer=ProgramTerms, is_kept=True)
async def get_program(request: Request) -> JsonAnswer:
    """The programme's clock and terms, and the campaigns of today that have not ended."""
    reader = reader_of(request)
    rulebook, now = shared(request, Rulebooks).active, shared(request, Clock).now()
    campaigns = running_campaigns(rulebook, now)
    left = await read_left(shared(request, Database).reads, campaigns)
    told = list_campaigns(campaigns, left, reader)
    terms = _terms(rulebook.program, now, rulebook.version, told)
    # Whoever has the terms need not fetch them for the time alone.
    lasting = msgspec.json.encode(msgspec.structs.replace(terms, now=_ANY_TIME))
    body = msgspec.json.encode(terms)
    return public_answer(request, body, headers=reader.headers(), tagged=lasting)


def _terms(
    program: Program, now: datetime, rulebook_version: int, campaigns: list[CampaignAnswer]
) -> ProgramTerms:
    time = program.ripening.next_day_at
    return ProgramTerms(
        name=program.name,
        timezone=program.timezone.key,
        now=now,
        ripening=RipeningTerms(
            next_day_at=f"{time:%H:%M}" if time else None,
            after_s=None if time else int(program.ripening.after.total_seconds()),
        ),
        expires_after_s=int(program.expires_after.total_seconds()),
        taking=TakingTerms(
            share=program.taking.share,
            max_g=program.taking.max_g,
            keep_share=program.taking.keep_share,
            per_friend_and_bubble=program.taking.per_friend_and_bubble,
            after_ripening_s=int(program.taking.after_ripening.total_seconds()),
        ),
        watering=msgspec.convert(program.watering, WateringTerms, from_attributes=True),
        shield=ShieldTerms(
            lasts_s=int(program.shield.lasts.total_seconds()), per_week=program.shield.per_week
        ),
        rulebook_version=rulebook_version,
        campaigns=campaigns,
    )
