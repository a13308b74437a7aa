"""The shape of scenarios: what people do, step by step, and what must come of it."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from service.rules.language.editor_schema import DRAFT, explained
from service.rules.language.schema import (
    ActionTypeName,
    Id,
    Line,
    LocalTime,
    Name,
    Region,
    Scalar,
    Section,
)

SCHEMA_ID = "https://saxaul.example/schemas/scenarios-v1.json"

Who = Annotated[str, Meta(min_length=1, max_length=100)]
Grams = Annotated[int, Meta(ge=0)]
Reporter = Literal["participant", "device", "partner"]


class StepContext(Section, frozen=True):
    """What surrounds a step besides its attributes."""

    reporter: Reporter | None = None
    verified: bool | None = None
    partner: Who | None = None
    region: Region | None = None
    occurred_at: LocalTime | None = None


class RuleExpect(Section, frozen=True):
    """What one rule must give."""

    saves: Grams | None = None
    earns: Grams | None = None
    limited_by: str | None = None
    campaign: Id | None = None
    skipped: Literal[True] | None = None


class StepExpect(RuleExpect, frozen=True):
    """What a step must come to: grams over all rules, or a refusal. Empty: it is accepted."""

    refused: (
        Literal[
            "implausible",
            "reporter-not-allowed",
            "too-late",
            "in-future",
            "overlap",
            "already-claimed",
            "invalid-attributes",
            "unknown-action-type",
        ]
        | None
    ) = None
    rules: dict[Id, RuleExpect] = msgspec.field(default_factory=dict)


class Step(Section, frozen=True):
    """Somebody reports an action at a moment of the virtual clock."""

    at: LocalTime
    participant: Who
    action: ActionTypeName
    expect: StepExpect
    attributes: dict[Name, Scalar] = msgspec.field(default_factory=dict)
    context: StepContext = StepContext()
    times: Annotated[int, Meta(ge=1, le=1_000)] = 1
    name: Line = ""


def json_schema() -> dict[str, Any]:
    """The JSON Schema of scenario files, for editors."""
    return {
        "$schema": DRAFT,
        "$id": SCHEMA_ID,
        "title": "Saxaul rule scenarios, v1",
        "description": "Steps of one scenario, run in order by `saxaul rules test`.",
        **explained(tuple[Step, ...]),
    }
