"""The shape of scenarios: what people do, step by step, and what must come of it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from service.rules.language.schema import ActionTypeName, Id, Line, LocalTime, Name, Region, Scalar

SCHEMA_ID = "https://saxaul.example/schemas/scenarios-v1.json"

Who = Annotated[str, Meta(min_length=1, max_length=100)]
Grams = Annotated[int, Meta(ge=0)]
Reporter = Literal["participant", "device", "partner"]


class _Part(Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """A mapping that refuses keys it does not know."""


def _says(description: str) -> Meta:
    return Meta(description=description)


class StepContext(_Part, frozen=True):
    """What surrounds a step besides its attributes."""

    reporter: (
        Annotated[
            Reporter,
            _says(
                "Who reports it; if not given, the partner where nobody else may, else a person."
            ),
        ]
        | UnsetType
    ) = UNSET
    verified: Annotated[bool, _says("Whether a partner reports it.")] | UnsetType = UNSET
    partner: (
        Annotated[Who, _says("Which partner reports it; claims may count within a partner.")]
        | UnsetType
    ) = UNSET
    region: Annotated[Region, _says("The person's region, from this step on.")] | UnsetType = UNSET
    occurred_at: (
        Annotated[LocalTime, _says("When it began, if it is reported later; else `at`.")]
        | UnsetType
    ) = UNSET


class RuleExpect(_Part, frozen=True):
    """What one rule must give."""

    saves: Annotated[Grams, _says("g CO2e.")] | UnsetType = UNSET
    earns: Annotated[Grams, _says("g of energy.")] | UnsetType = UNSET
    limited_by: Annotated[str, _says("What cuts it.")] | UnsetType = UNSET
    campaign: Annotated[Id, _says("The campaign that multiplies it.")] | UnsetType = UNSET
    skipped: (
        Annotated[Literal[True], _says("true: the rule's when or dates exclude it.")] | UnsetType
    ) = UNSET


class StepExpect(_Part, frozen=True):
    """What a step must come to: grams over all rules, or a refusal. Empty: it is accepted."""

    saves: (
        Annotated[Grams, _says("g CO2e of the action: the most among its rules.")] | UnsetType
    ) = UNSET
    earns: Annotated[Grams, _says("g of energy of the action, over all its rules.")] | UnsetType = (
        UNSET
    )
    limited_by: Annotated[str, _says("What cuts it: the first award that is cut.")] | UnsetType = (
        UNSET
    )
    campaign: (
        Annotated[Id, _says("The campaign that multiplies it: the first award that has one.")]
        | UnsetType
    ) = UNSET
    skipped: Annotated[Literal[True], _says("true: no rule applies.")] | UnsetType = UNSET
    refused: (
        Annotated[
            Literal[
                "implausible",
                "reporter-not-allowed",
                "too-late",
                "in-future",
                "overlap",
                "already-claimed",
                "invalid-attributes",
                "unknown-action-type",
            ],
            _says("Why it is refused."),
        ]
        | UnsetType
    ) = UNSET
    rules: Annotated[dict[Id, RuleExpect], _says("What single rules must give, by id.")] = (
        msgspec.field(default_factory=dict)
    )


class Step(_Part, frozen=True):
    """Somebody reports an action at a moment of the virtual clock."""

    at: Annotated[LocalTime, _says("When it is reported; the clock only goes forward.")]
    participant: Annotated[Who, Meta(description="Who did it.", examples=["alice"])]
    action: Annotated[ActionTypeName, _says("The action type.")]
    expect: Annotated[StepExpect, _says("What must come of it.")]
    attributes: Annotated[dict[Name, Scalar], _says("What the action carries.")] = msgspec.field(
        default_factory=dict
    )
    context: Annotated[StepContext, _says("What surrounds it.")] = StepContext()
    times: Annotated[
        int,
        Meta(
            ge=1,
            le=1_000,
            description="How often it is reported, each time with the same outcome. In a text of "
            "the attributes {n} stands for the number of the time.",
        ),
    ] = 1
    name: Annotated[Line, _says("What the step shows.")] = ""


def json_schema() -> dict[str, Any]:
    """The JSON Schema of scenario files, for editors."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": SCHEMA_ID,
        "title": "Saxaul rule scenarios, v1",
        "description": "Steps of one scenario, run in order by `saxaul rules test`.",
        **msgspec.json.schema(tuple[Step, ...]),
    }
