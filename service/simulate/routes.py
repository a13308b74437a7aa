"""Drafts of the rules over HTTP, the operators' side: what they would have paid."""

import asyncio
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from service.http.access import Request, log_act, post
from service.http.decode import read_body
from service.http.faults import fault
from service.http.shared import shared
from service.platform.clock import Clock
from service.rulebooks.checked import compile_rulebook_or_raise
from service.rulebooks.routes_operator import Files, parted
from service.simulate.passes import Trial
from service.simulate.period import PeriodError, read_period
from service.simulate.report import SimulationAnswer, simulation_report
from service.simulate.simulator import Simulator


class SimulationOrder(Struct, frozen=True, forbid_unknown_fields=True):
    """A draft, and what of the past is replayed under it: from inclusive, to exclusive."""

    files: Files
    from_: Annotated[str, Meta(max_length=40)] | None = msgspec.field(name="from", default=None)
    to: Annotated[str, Meta(max_length=40)] | None = None


@post(
    "/v1/operator/rulebooks/simulate",
    "operator:rules:write",
    body=SimulationOrder,
    problems=("rulebook-invalid",),
)
async def simulate_rulebook(request: Request) -> SimulationAnswer:
    """Replay what was recorded in a period under a draft; of that nothing is stored."""
    order = await read_body(request, SimulationOrder)
    files, _ = parted(order.files)
    draft = await asyncio.to_thread(compile_rulebook_or_raise, files)
    try:
        period = read_period(draft.program, order.from_, order.to, shared(request, Clock).now())
    except PeriodError as error:
        raise fault(f"#/{error.which}", error.detail) from error
    simulation = await shared(request, Simulator).run(Trial(draft, files, period))
    detail = {"from": period.starts_at.isoformat(), "to": period.ends_at.isoformat()}
    await log_act(request, "rulebook.simulate", draft.sha256, detail)
    return simulation_report(simulation)
