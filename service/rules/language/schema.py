"""The rule language's shape: one struct a section. The editors' JSON Schema is made of these.

What each key says to whoever writes rules stands in `keys.yaml`, what texts look like in
`forms.yaml`.
"""

import datetime as dt
from typing import Annotated, Any, ClassVar, Literal

import msgspec
from msgspec import Meta, Struct

from service.rules.language.data import data_of


class _Form(Struct, frozen=True):
    pattern: str
    says: str
    examples: list[Any] | None = None


_FORMS = {
    name: Meta(pattern=f"^{form.pattern}$", examples=form.examples, extra={"says": form.says})
    for name, form in data_of("forms.yaml", dict[str, _Form]).items()
}

Duration = Annotated[str, _FORMS["duration"]]
ClockTime = Annotated[str, _FORMS["clock_time"]]
LocalTime = Annotated[str, _FORMS["local_time"]]
REGION = "[A-Z]{2}(-[A-Z0-9]{1,3})?"
# Nothing: of no known region.
Region = Annotated[
    str, Meta(pattern=f"^({REGION})?$", extra={"says": "an ISO 3166 code like CN-ZJ, or CN"})
]
Address = Annotated[str, _FORMS["address"]]
Line = Annotated[str, Meta(min_length=1, max_length=300)]
LANGUAGE_TAG = str(_FORMS["language_tag"].pattern)
LanguageTag = Annotated[str, _FORMS["language_tag"]]
Languages = Annotated[dict[LanguageTag, Line], Meta(min_length=1)]
Localized = Annotated[
    Line | Languages, Meta(extra={"says": "a text, or texts by language like {en: ..., zh: ...}"})
]
Expression = Annotated[
    str | int | float | bool, Meta(extra={"says": "an expression", "scalar_text": True})
]
Scalar = Annotated[
    str | int | float | bool, Meta(extra={"says": "a text, a number, true or false"})
]
Name = Annotated[str, _FORMS["name"]]
ActionTypeName = Annotated[str, _FORMS["action_type_name"]]
Id = Annotated[str, _FORMS["id"]]
Per = Literal["day", "week", "month", "year", "ever"]
Category = Literal["mobility", "payment", "recycling", "consumption", "home", "office", "health"]
Refused = Literal[
    "implausible", "reporter-not-allowed", "too-late", "in-future", "invalid-attributes"
]
Grams = Annotated[int, Meta(ge=0, le=1_000_000_000)]
Count = Annotated[int, Meta(ge=1, le=1_000_000_000)]
Several = Annotated[tuple[Name, ...], Meta(min_length=1, max_length=8)]


class Section(Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """A mapping that refuses keys it does not know.

    `stand_ins` are taken for required values that are missing or faulty, which was told: so what
    else stands in the section is checked all the same.
    """

    stand_ins: ClassVar[dict[str, Any]] = {}


class Ripens(Section, frozen=True):
    """When new energy can be collected; exactly one of the two."""

    next_day_at: ClockTime | None = None
    after: Duration | None = None


class Energy(Section, frozen=True):
    """The life of energy between action and collecting."""

    ripens: Ripens
    expires_after: Duration


class Taking(Section, frozen=True):
    """What friends may take from a ripe bubble."""

    share: Annotated[float, Meta(ge=0, le=1)] = 0.3
    max_g: Grams = 30
    keep_share: Annotated[float, Meta(ge=0, le=1)] = 0.6
    per_friend_and_bubble: Count = 1
    after_ripening: Duration = "0s"


class Watering(Section, frozen=True):
    """What people may give to a friend."""

    amounts_g: Annotated[tuple[Count, ...], Meta(min_length=1, max_length=20)] = (10, 18, 33, 66)
    per_friend_per_day: Count = 3


class Shield(Section, frozen=True):
    """A cover that keeps friends from taking."""

    lasts: Duration = "24h"
    per_week: Count = 1


class Program(Section, frozen=True):
    """What holds for the whole programme; exactly once over all files."""

    name: Line
    timezone: Line
    energy: Energy
    language: LanguageTag = "en"
    taking: Taking = Taking()
    watering: Watering = Watering()
    shield: Shield = Shield()


class Factor(Section, frozen=True):
    """An emission factor in g CO2e per unit, always with its source."""

    value: Annotated[float, Meta(ge=0, le=1e9)]
    unit: Line
    source: Line
    year: Annotated[int, Meta(ge=1990, le=2100)]
    url: Address | None = None


class Attribute(Section, frozen=True):
    """One attribute that an action carries."""

    type: Literal["number", "integer", "string", "boolean"]
    required: bool = True
    unit: Line | None = None
    minimum: float | None = None
    maximum: float | None = None
    max_length: Annotated[int, Meta(ge=1, le=1_000)] | None = None
    pattern: Annotated[str, Meta(min_length=1, max_length=500)] | None = None
    one_of: Annotated[tuple[Line, ...], Meta(min_length=1, max_length=100)] | None = None


class Claim(Section, frozen=True):
    """What is paid once, over all people."""

    by: Name | Several
    per: Literal["day", "month", "year", "ever"] = "ever"
    within: Literal["all", "partner"] = "all"
    leading_zeros: Literal["kept", "ignored"] | None = None


class ActionType(Section, frozen=True):
    """A kind of low-carbon action: what it carries and who may report it."""

    stand_ins: ClassVar[dict[str, Any]] = {"category": "", "reported_by": ()}

    category: Category
    reported_by: Annotated[
        tuple[Literal["partner", "device", "participant"], ...], Meta(min_length=1, max_length=3)
    ]
    title: Localized = ""
    hint: Localized | None = None
    attributes: Annotated[dict[Name, Attribute], Meta(max_length=50)] = msgspec.field(
        default_factory=dict
    )
    accepted_for: Duration = "7d"
    plausible: Expression | None = None
    lasts: Name | None = None
    overlap: Literal["exclusive"] | None = None
    claim: Claim | None = None


class Limit(Section, frozen=True):
    """A cap on the energy of one person; exactly one of count and grams."""

    per: Per
    count: Count | None = None
    grams: Count | None = None
    group: Id | None = None
    by: Name | None = None


class ExampleContext(Section, frozen=True):
    """What surrounds an example besides its attributes."""

    verified: bool | None = None
    occurred_at: LocalTime | None = None
    region: Annotated[str, Meta(max_length=20)] = ""
    streak_days: Annotated[int, Meta(ge=0, le=100_000)] = 0


class Expect(Section, frozen=True):
    """What an example must come to: grams, a refusal, or that the rule does not apply."""

    saves: Annotated[int, Meta(ge=0)] | None = None
    earns: Annotated[int, Meta(ge=0)] | None = None
    limited_by: str | None = None
    refused: Refused | None = None
    skipped: Literal[True] | None = None


class Example(Section, frozen=True):
    """A case that `saxaul rules test` runs."""

    expect: Expect
    name: Line = "unnamed"
    given: dict[Name, Scalar] = msgspec.field(default_factory=dict)
    context: ExampleContext = ExampleContext()


class Rule(Section, frozen=True):
    """What an action saves and earns. All rules of its type are tried, in order of id."""

    stand_ins: ClassVar[dict[str, Any]] = {"id": ""}

    id: Id
    action: ActionTypeName
    title: Localized = ""
    from_: dt.date | None = msgspec.field(name="from", default=None)
    until: dt.date | None = None
    when: Expression | None = None
    saves: Expression | None = None
    earns: Expression | None = None
    limits: Annotated[tuple[Limit, ...], Meta(max_length=20)] = ()
    examples: Annotated[tuple[Example, ...], Meta(max_length=100)] = ()


class Campaign(Section, frozen=True):
    """A time in which energy counts several times; savings never do."""

    id: Id
    title: Localized
    from_: dt.date = msgspec.field(name="from")
    until: dt.date
    earns_times: Annotated[float, Meta(ge=1, le=100)]
    rules: Annotated[tuple[Id, ...], Meta(min_length=1)] | None = None
    categories: Annotated[tuple[Category, ...], Meta(min_length=1)] | None = None
    regions: Annotated[tuple[Line, ...], Meta(min_length=1)] | None = None
    budget_g: Grams | None = None


class Needs(Section, frozen=True):
    """What a badge asks for; exactly one kind."""

    action: ActionTypeName | None = None
    count: Count | None = None
    streak_days: Count | None = None
    trees: Count | None = None


class Badge(Section, frozen=True):
    """A mark of honour."""

    id: Id
    title: Localized
    needs: Needs


class RuleFile(Section, frozen=True):
    """One rule file. Every file may hold any of the sections; ids are unique over all files."""

    program: Program | None = None
    factors: dict[Name, Factor] = msgspec.field(default_factory=dict)
    action_types: dict[ActionTypeName, ActionType] = msgspec.field(default_factory=dict)
    rules: tuple[Rule, ...] = ()
    campaigns: tuple[Campaign, ...] = ()
    badges: tuple[Badge, ...] = ()
