"""Drafts of the rules over HTTP, the operators' side: what they would have paid."""

import asyncio
from datetime import date
from typing import Annotated
from uuid import UUID

import msgspec
from litestar import post
from litestar.handlers import HTTPRouteHandler
from msgspec import Meta, Struct

from service.http.access import Request, act_of, opens
from service.http.decode import Time, read_body
from service.http.faults import fault
from service.http.shared import shared
from service.platform.clock import Clock
from service.platform.database import Database
from service.rulebooks.publish import compile_rulebook_or_raise
from service.rulebooks.routes_operator import Files, parted
from service.simulate.passes import Trial
from service.simulate.period import PeriodError, read_period
from service.simulate.report import simulation_json
from service.simulate.simulator import Simulator


class SimulationOrder(Struct, frozen=True, forbid_unknown_fields=True):
    """A draft, and what of the past is replayed under it: from inclusive, to exclusive."""

    files: Files
    from_: Annotated[str, Meta(max_length=40)] | None = msgspec.field(name="from", default=None)
    to: Annotated[str, Meta(max_length=40)] | None = None


class Sides(Struct, frozen=True):
    """Grams as they were given, and as the draft gives them; reversals taken off."""

    energy_before_g: int
    energy_after_g: int
    saved_before_g: int
    saved_after_g: int


class DaySides(Sides, frozen=True, kw_only=True):
    """A day of the programme, by when it was recorded."""

    day: date


class RuleSides(Sides, frozen=True, kw_only=True):
    """A rule, with its number of awards."""

    rule: str
    awards_before: int
    awards_after: int


class LimitSides(Struct, frozen=True):
    """How many awards a limit or budget cut."""

    rule: str
    limited_by: str
    cut_before: int
    cut_after: int


class CampaignSides(Struct, frozen=True):
    """What a campaign gave beyond the rules; `budget_ends`: the draft's budget is used up."""

    campaign: str
    budget_g: int | None
    extra_before_g: int
    extra_after_g: int
    budget_ends: bool


class RefusedSides(Struct, frozen=True):
    """Actions that were accepted and that the draft refuses, with what they had given."""

    reason: str
    actions: int
    energy_before_g: int


class FailedSides(Struct, frozen=True):
    """Awards whose rule failed."""

    awards_before: int
    awards_after: int


class ErasedSides(Struct, frozen=True):
    """Actions of erased people, which are carried over as they were."""

    actions: int
    energy_g: int


class VersionActions(Struct, frozen=True):
    """How many actions a version had decided."""

    version: int
    actions: int


class PeopleCount(Struct, frozen=True):
    """People with something in the period: how they fare under the draft."""

    all: int
    gain: int
    lose: int
    same: int


class ChangedActionAnswer(Struct, frozen=True):
    """An action that comes out otherwise."""

    id: UUID
    type: str
    occurred_at: Time
    energy_before_g: int
    energy_after_g: int


class PersonSides(Struct, frozen=True):
    """A person whom the draft changes much, with the action that it changes most."""

    participant_id: UUID
    energy_before_g: int
    energy_after_g: int
    most_changed_action: ChangedActionAnswer | None


class SimulationAnswer(Struct, frozen=True, rename={"from_": "from"}):
    """What a draft would have given beside what was given. Not `settled`: close, not exact."""

    from_: Time
    to: Time
    timezone: str
    sha256: str
    as_recorded: bool
    actions: int
    reversals: int
    changed_actions: int
    versions: list[VersionActions]
    totals: Sides
    people: PeopleCount
    days: list[DaySides]
    rules: list[RuleSides]
    limits: list[LimitSides]
    campaigns: list[CampaignSides]
    refused: list[RefusedSides]
    failed: FailedSides
    erased: ErasedSides
    largest_changes: list[PersonSides]
    passes: int
    settled: bool
    rebudgeted: list[str]
    notes: list[str]


@post(
    "/v1/operator/rulebooks/simulate",
    status_code=200,
    operation_id="simulateRulebook",
    **opens("operator:rules:write", body=SimulationOrder, problems=("rulebook-invalid",)),
)
async def simulate_files(request: Request) -> SimulationAnswer:
    """Replay what was recorded in a period under a draft; of that nothing is stored."""
    order = await read_body(request, SimulationOrder)
    files, _ = parted(order.files)
    draft = await asyncio.to_thread(compile_rulebook_or_raise, files)
    try:
        period = read_period(draft.program, order.from_, order.to, shared(request, Clock).now())
    except PeriodError as error:
        raise fault(f"#/{error.which}", error.detail) from error
    simulation = await shared(request, Simulator).run(Trial(draft, files, period))
    async with shared(request, Database).transaction() as connection:
        detail = {"from": period.starts_at.isoformat(), "to": period.ends_at.isoformat()}
        await act_of(request).log(connection, "rulebook.simulate", draft.sha256, detail)
    return msgspec.convert(simulation_json(simulation), SimulationAnswer)


routes: list[HTTPRouteHandler] = [simulate_files]
