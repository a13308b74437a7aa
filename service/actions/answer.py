"""How an action is told to its person, by the rules that decided it."""

from collections.abc import Iterable, Sequence
from typing import Literal
from uuid import UUID

import msgspec
from msgspec import Struct

from service.actions.kept import KeptAnswers, Told
from service.actions.store import Action, read_actions, reversal_id, reversal_key
from service.http.access import Request
from service.http.decode import Time
from service.http.shared import shared
from service.platform.database import Database
from service.rulebooks.publish import Rulebooks
from service.rules.decide.evaluate import Award
from service.rules.decide.explain import explain_award
from service.rules.decide.languages import Reader
from service.rules.decide.rulebook import Rulebook
from service.rules.decide.standing import award_of


class AwardAnswer(Struct, frozen=True):
    """What one rule gave, and why."""

    rule: str
    rulebook_version: int
    saved_g: int
    energy_g: int
    limited_by: str | None
    explanation: str


class ActionBubble(Struct, frozen=True):
    """Where the energy of an action waits."""

    id: UUID
    energy_g: int
    ripens_at: Time
    expires_at: Time


class ActionReversal(Struct, frozen=True):
    """When what an action gave was taken back, and why."""

    at: Time
    reason: str


class ActionAnswer(Struct, frozen=True):
    """A recorded action with all that it earned; `reversal` stands only where it was reversed."""

    id: UUID
    type: str
    occurred_at: Time
    recorded_at: Time
    source: str
    status: Literal["accepted", "reversed"]
    saved_g: int
    energy_g: int
    awards: list[AwardAnswer]
    bubble: ActionBubble | None
    reversal: ActionReversal | msgspec.UnsetType = msgspec.UNSET


async def action_answer(
    request: Request,
    reader: Reader,
    row: Action,
    reversal: Action | None,
    awards: Sequence[Award] = (),
) -> ActionAnswer:
    """Render an action from its row and the rulebook that decided it, at first and ever after.

    `awards` are those of the row, where they are at hand.
    """
    rules = shared(request, Rulebooks)
    is_active = row.rulebook_version == rules.active.version
    rulebook = rules.active if is_active else await rules.get(row.rulebook_version)
    bubble, told = None, None
    if reversal is not None:
        told = ActionReversal(reversal.recorded_at, (reversal.attributes or {}).get("reason", ""))
    if row.energy_g and row.ripens_at and row.expires_at:
        bubble = ActionBubble(row.id, row.energy_g, row.ripens_at, row.expires_at)
    return ActionAnswer(
        row.id,
        row.type,
        row.occurred_at,
        row.recorded_at,
        row.source,
        "reversed" if told else "accepted",
        row.saved_g,
        row.energy_g,
        [_award(row, award, rulebook, reader) for award in awards or map(award_of, row.awards)],
        bubble,
        told or msgspec.UNSET,
    )


async def tell_actions(
    request: Request, reader: Reader, participant_id: UUID, actions: Iterable[tuple[UUID, bool]]
) -> list[msgspec.Raw]:
    """These actions of this person as JSON; each is named with whether it is reversed.

    Those that were told before are not read again.
    """
    told = shared(request, KeptAnswers).of(participant_id)
    keys = [(action_id, is_reversed, reader.languages) for action_id, is_reversed in actions]
    if missing := [key for key in keys if key not in told]:
        ids = [key[0] for key in missing] + [reversal_id(key[0]) for key in missing if key[1]]
        rows = await read_actions(
            shared(request, Database).reads, [(participant_id, each) for each in ids]
        )
        for key in missing:
            own, row = reader.anew(), rows[participant_id, key[0]]
            answer = await action_answer(request, own, row, rows.get(reversal_key(row.key)))
            told[key] = Told(msgspec.Raw(msgspec.json.encode(answer)), own.came)
    found = [told[key] for key in keys]
    for each in found:
        reader.hear(each.languages)
    return [each.body for each in found]


_FAILED = "0 g: this rule failed on these values and paid nothing; the operators are told"


def _award(row: Action, award: Award, rulebook: Rulebook, reader: Reader) -> AwardAnswer:
    if award.failed:
        why = reader.tell(_FAILED)
    else:
        why = explain_award(rulebook, row.attributes, award, reader)
    return AwardAnswer(
        award.rule, row.rulebook_version, award.saved_g, award.energy_g, award.limited_by, why
    )
