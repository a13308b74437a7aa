"""The rule language's shape: one struct a section. The editors' JSON Schema is made of these."""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Any, ClassVar, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

Duration = Annotated[
    str,
    Meta(
        pattern=r"^[0-9]{1,9}(s|min|h|d)$",
        description="A whole number and s, min, h or d.",
        examples=["72h", "7d", "30min"],
        extra={"says": "a duration: a whole number and s, min, h or d, like 72h"},
    ),
]
ClockTime = Annotated[
    str,
    Meta(
        pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$",
        description="A time of day in the programme's zone.",
        examples=["07:00"],
        extra={"says": 'a time of day, like "07:00"'},
    ),
]
LocalTime = Annotated[
    str,
    Meta(
        pattern=r"^(19[7-9]|20[0-9]|21[0-9])[0-9]-[0-9]{2}-[0-9]{2}"
        r"T[0-9]{2}:[0-9]{2}(:[0-9]{2})?(Z|[+-][0-9]{2}:[0-9]{2})?$",
        description="A moment; without an offset in the programme's zone.",
        examples=["2026-06-05T08:15"],
        extra={"says": "a time like 2026-06-05T08:15 or 2026-06-05T08:15:00+08:00"},
    ),
]
REGION = "[A-Z]{2}(-[A-Z0-9]{1,3})?"
Region = Annotated[
    str,
    Meta(
        # Nothing: of no known region.
        pattern=f"^({REGION})?$",
        description="An ISO 3166 code.",
        examples=["CN-ZJ"],
        extra={"says": "an ISO 3166 code like CN-ZJ, or CN"},
    ),
]
Day = Annotated[
    dt.date, Meta(description="A day in the programme's time zone.", examples=["2026-06-05"])
]
Line = Annotated[str, Meta(min_length=1, max_length=300)]
Languages = Annotated[
    dict[
        Annotated[
            str,
            Meta(
                pattern=r"^[a-z]{2,3}(-[A-Za-z0-9]{2,8})*$",
                extra={"says": "a language tag, like en or zh-Hant"},
            ),
        ],
        Line,
    ],
    Meta(min_length=1),
]
Localized = Annotated[
    Line | Languages,
    Meta(
        description="Text, or one text a language.",
        examples=["Metro trip", {"en": "Metro trip", "zh": "地铁出行"}],
        extra={"says": "a text, or texts by language like {en: ..., zh: ...}"},
    ),
]
Expression = Annotated[
    str | int | float | bool,
    Meta(
        description="A CEL expression over the action's attributes, factors.NAME, verified, "
        "reporter, region, hour, weekday and streak_days.",
        examples=["distance_km * factors.petrol_car_pkm", 52],
        extra={"says": "an expression", "scalar_text": True},
    ),
]
Scalar = Annotated[
    str | int | float | bool, Meta(extra={"says": "a text, a number, true or false"})
]
Name = Annotated[
    str,
    Meta(
        pattern=r"^[A-Za-z][A-Za-z0-9_]{0,62}$",
        extra={"says": "a name: letters, digits and _, beginning with a letter"},
    ),
]
ActionTypeName = Annotated[
    str,
    Meta(
        pattern=r"^[a-z][a-z0-9_]{0,39}(\.[a-z0-9][a-z0-9_]{0,39}){0,3}$",
        examples=["transit.metro_trip"],
        extra={"says": "an action type's name in small letters, like transit.metro_trip"},
    ),
]
Id = Annotated[
    str,
    Meta(
        pattern=r"^[a-z0-9][a-z0-9_.-]{0,63}$",
        examples=["metro-trip"],
        extra={"says": "an id of small letters, digits, - _ and ., like metro-trip"},
    ),
]
Per = Literal["day", "week", "month", "year", "ever"]
Category = Literal["mobility", "payment", "recycling", "consumption", "home", "office", "health"]
Grams = Annotated[int, Meta(ge=0, le=1_000_000_000)]
Count = Annotated[int, Meta(ge=1, le=1_000_000_000)]
Several = Annotated[tuple[Name, ...], Meta(min_length=1, max_length=8)]


class _Section(Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """A mapping that refuses keys it does not know.

    `stand_ins` are taken for required values that are missing or faulty, which was told: so what
    else stands in the section is checked all the same.
    """

    stand_ins: ClassVar[dict[str, Any]] = {}


def _says(description: str) -> Meta:
    return Meta(description=description)


class Ripens(_Section, frozen=True):
    """When new energy can be collected; exactly one of the two."""

    next_day_at: (
        Annotated[ClockTime, _says("At this time on the programme's day after it was recorded.")]
        | UnsetType
    ) = UNSET
    after: (
        Annotated[Duration, _says("So long after it was recorded; 0s is at once.")] | UnsetType
    ) = UNSET


class Energy(_Section, frozen=True):
    """The life of energy between action and collecting."""

    ripens: Annotated[Ripens, _says("When new energy can be collected.")]
    expires_after: Annotated[
        Duration, _says("How long ripe energy waits for its owner before it is lost.")
    ]


class Taking(_Section, frozen=True):
    """What friends may take from a ripe bubble."""

    share: Annotated[float, Meta(ge=0, le=1, description="Share of a bubble for one friend.")] = 0.3
    max_g: Annotated[Grams, _says("Most grams that one friend takes from one bubble.")] = 30
    keep_share: Annotated[
        float, Meta(ge=0, le=1, description="Share of a bubble that stays with its owner.")
    ] = 0.6
    per_friend_and_bubble: Annotated[
        Count, _says("How often one friend takes from one bubble.")
    ] = 1
    after_ripening: Annotated[
        Duration, _says("How long the owner is alone with a ripe bubble.")
    ] = "0s"


class Watering(_Section, frozen=True):
    """What people may give to a friend."""

    amounts_g: Annotated[
        tuple[Count, ...], Meta(min_length=1, max_length=20, description="The amounts on offer.")
    ] = (10, 18, 33, 66)
    per_friend_per_day: Annotated[Count, _says("How often a day one friend is watered.")] = 3


class Shield(_Section, frozen=True):
    """A cover that keeps friends from taking."""

    lasts: Annotated[Duration, _says("How long one shield holds.")] = "24h"
    per_week: Annotated[Count, _says("How many shields a week a person has.")] = 1


class Program(_Section, frozen=True):
    """What holds for the whole programme; exactly once over all files."""

    name: Annotated[Line, _says("The programme's name.")]
    timezone: Annotated[
        Line,
        Meta(
            description="IANA name of the zone in which days, weeks and months are counted.",
            examples=["Asia/Shanghai"],
        ),
    ]
    energy: Annotated[Energy, _says("Ripening and expiry.")]
    language: Annotated[
        str,
        Meta(
            pattern=r"^[a-z]{2,3}(-[A-Za-z0-9]{2,8})*$",
            description="The language of plain titles and hints.",
            extra={"says": "a language tag, like en or zh-Hant"},
        ),
    ] = "en"
    taking: Annotated[Taking, _says("What friends may take.")] = Taking()
    watering: Annotated[Watering, _says("What people may give.")] = Watering()
    shield: Annotated[Shield, _says("How a forest is closed to friends.")] = Shield()


class Factor(_Section, frozen=True):
    """An emission factor in g CO2e per unit, always with its source."""

    value: Annotated[float, Meta(ge=0, le=1e9, description="g CO2e per unit.")]
    unit: Annotated[Line, Meta(description="g/ and what it is per.", examples=["g/pkm"])]
    source: Annotated[Line, _says("Publication, edition and row, so that others can check it.")]
    year: Annotated[
        int, Meta(ge=1990, le=2100, description="Year of the edition, or in which it was read.")
    ]
    url: (
        Annotated[
            str,
            Meta(
                pattern=r"^https?://[^\s]+$",
                description="Where to read it.",
                extra={"says": "an address that begins with https:// or http://"},
            ),
        ]
        | UnsetType
    ) = UNSET


class Attribute(_Section, frozen=True):
    """One attribute that an action carries."""

    type: Annotated[
        Literal["number", "integer", "string", "boolean"], _says("The type of its values.")
    ]
    required: Annotated[bool, _says("Whether it must come; if not, ask has(name).")] = True
    unit: Annotated[Line, Meta(description="Its unit.", examples=["km"])] | UnsetType = UNSET
    minimum: Annotated[float, _says("Smallest value; numbers only.")] | UnsetType = UNSET
    maximum: Annotated[float, _says("Largest value; numbers only.")] | UnsetType = UNSET
    max_length: (
        Annotated[int, Meta(ge=1, le=1_000, description="Longest text; 200 if not given.")]
        | UnsetType
    ) = UNSET
    pattern: (
        Annotated[
            str,
            Meta(
                min_length=1,
                max_length=500,
                description="Regular expression (RE2) that the whole text fits.",
                examples=["[A-Z0-9-]+"],
            ),
        ]
        | UnsetType
    ) = UNSET
    one_of: (
        Annotated[
            tuple[Line, ...],
            Meta(min_length=1, max_length=100, description="The allowed texts."),
        ]
        | UnsetType
    ) = UNSET


class Claim(_Section, frozen=True):
    """What is paid once, over all people."""

    by: Annotated[
        Name | Several, _says("The attribute, or a list of them, whose value is paid once.")
    ]
    per: Annotated[
        Literal["day", "month", "year", "ever"], _says("How long a value stays paid.")
    ] = "ever"
    within: Annotated[
        Literal["all", "partner"], _says("Among all, or only among one partner's events.")
    ] = "all"
    leading_zeros: (
        Annotated[Literal["kept", "ignored"], _says("Whether 0071 and 71 are two values, or one.")]
        | UnsetType
    ) = UNSET


class ActionType(_Section, frozen=True):
    """A kind of low-carbon action: what it carries and who may report it."""

    stand_ins: ClassVar[dict[str, Any]] = {"category": "", "reported_by": ()}

    category: Annotated[Category, _says("Where it counts in the personal carbon account.")]
    reported_by: Annotated[
        tuple[Literal["partner", "device", "participant"], ...],
        Meta(min_length=1, max_length=3, description="Who may report it."),
    ]
    title: Annotated[Localized, _says("Shown to people; the type's name if missing.")] = ""
    hint: Annotated[Localized, _says("Shown as a suggestion.")] | UnsetType = UNSET
    attributes: Annotated[
        dict[Name, Attribute], Meta(max_length=50, description="What it carries, by name.")
    ] = msgspec.field(default_factory=dict)
    accepted_for: Annotated[
        Duration, _says("How long after it happened it may arrive; at most 60d.")
    ] = "7d"
    plausible: (
        Annotated[Expression, _says("A condition that every believable action fulfils.")]
        | UnsetType
    ) = UNSET
    lasts: (
        Annotated[Name, _says("The attribute that tells how long it took (unit s, min or h).")]
        | UnsetType
    ) = UNSET
    overlap: (
        Annotated[
            Literal["exclusive"],
            _says("exclusive: refuses what meets another exclusive action of the same person."),
        ]
        | UnsetType
    ) = UNSET
    claim: Annotated[Claim, _says("What is paid once, over all people.")] | UnsetType = UNSET


class Limit(_Section, frozen=True):
    """A cap on the energy of one person; exactly one of count and grams."""

    per: Annotated[Per, _says("The period, by the day on which the action happened.")]
    count: Annotated[Count, _says("Most awards above 0 g.")] | UnsetType = UNSET
    grams: Annotated[Count, _says("Most grams; an award is cut to what is left.")] | UnsetType = (
        UNSET
    )
    group: Annotated[Id, _says("One counter for all rules that name the group.")] | UnsetType = (
        UNSET
    )
    by: Annotated[Name, _says("One counter a value of this attribute.")] | UnsetType = UNSET


class ExampleContext(_Section, frozen=True):
    """What surrounds an example besides its attributes."""

    verified: Annotated[bool, _says("Whether a partner reports it.")] | UnsetType = UNSET
    occurred_at: Annotated[LocalTime, _says("When it began.")] | UnsetType = UNSET
    region: Annotated[str, Meta(max_length=20, description="The person's region.")] = ""
    streak_days: Annotated[int, Meta(ge=0, le=100_000, description="Green days before it.")] = 0


class Expect(_Section, frozen=True):
    """What an example must come to: grams, a refusal, or that the rule does not apply."""

    saves: Annotated[int, Meta(ge=0, description="g CO2e.")] | UnsetType = UNSET
    earns: Annotated[int, Meta(ge=0, description="g of energy.")] | UnsetType = UNSET
    limited_by: Annotated[str, _says("The limit that cuts it.")] | UnsetType = UNSET
    refused: (
        Annotated[
            Literal[
                "implausible", "reporter-not-allowed", "too-late", "in-future", "invalid-attributes"
            ],
            _says("Why the catalogue refuses it."),
        ]
        | UnsetType
    ) = UNSET
    skipped: (
        Annotated[Literal[True], _says("true: the rule's when or dates exclude it.")] | UnsetType
    ) = UNSET


class Example(_Section, frozen=True):
    """A case that `saxaul rules test` runs."""

    expect: Annotated[Expect, _says("What must come out.")]
    name: Annotated[Line, _says("What the case shows.")] = "unnamed"
    given: Annotated[dict[Name, Scalar], _says("The action's attributes.")] = msgspec.field(
        default_factory=dict
    )
    context: Annotated[ExampleContext, _says("What surrounds it.")] = ExampleContext()


class Rule(_Section, frozen=True):
    """What an action saves and earns. All rules of its type are tried, in order of id."""

    stand_ins: ClassVar[dict[str, Any]] = {"id": ""}

    id: Annotated[Id, _says("What history refers to; never reuse one.")]
    action: Annotated[ActionTypeName, _says("The action type.")]
    title: Annotated[Localized, _says("Shown to people; the id if missing.")] = ""
    from_: Annotated[Day, _says("First day.")] | UnsetType = msgspec.field(
        name="from", default=UNSET
    )
    until: Annotated[Day, _says("The day after the last one.")] | UnsetType = UNSET
    when: Annotated[Expression, _says("The condition under which it applies.")] | UnsetType = UNSET
    saves: (
        Annotated[Expression, _says("g CO2e avoided, by a methodology with a source; else 0.")]
        | UnsetType
    ) = UNSET
    earns: (
        Annotated[Expression, _says("g of energy, the game; what it saves if not given.")]
        | UnsetType
    ) = UNSET
    limits: Annotated[tuple[Limit, ...], Meta(max_length=20, description="Caps on energy.")] = ()
    examples: Annotated[
        tuple[Example, ...], Meta(max_length=100, description="Cases that prove the rule.")
    ] = ()


class Campaign(_Section, frozen=True):
    """A time in which energy counts several times; savings never do."""

    id: Annotated[Id, _says("What history refers to; never reuse one.")]
    title: Annotated[Localized, _says("Shown to people.")]
    from_: Annotated[Day, _says("First day.")] = msgspec.field(name="from")
    until: Annotated[Day, _says("The day after the last one.")]
    earns_times: Annotated[float, Meta(ge=1, le=100, description="Multiplies energy.")]
    rules: Annotated[tuple[Id, ...], Meta(min_length=1, description="Which rules.")] | UnsetType = (
        UNSET
    )
    categories: (
        Annotated[tuple[Category, ...], Meta(min_length=1, description="Which categories.")]
        | UnsetType
    ) = UNSET
    regions: Annotated[tuple[Line, ...], Meta(min_length=1, description="Where.")] | UnsetType = (
        UNSET
    )
    budget_g: Annotated[Grams, _says("Extra grams; when they are used up it ends.")] | UnsetType = (
        UNSET
    )


class Needs(_Section, frozen=True):
    """What a badge asks for; exactly one kind."""

    action: Annotated[ActionTypeName, _says("Actions of this type.")] | UnsetType = UNSET
    count: Annotated[Count, _says("How many of them.")] | UnsetType = UNSET
    streak_days: Annotated[Count, _says("Green days in a row.")] | UnsetType = UNSET
    trees: Annotated[Count, _says("Trees pledged.")] | UnsetType = UNSET


class Badge(_Section, frozen=True):
    """A mark of honour."""

    id: Annotated[Id, _says("What history refers to; never reuse one.")]
    title: Annotated[Localized, _says("Shown to people.")]
    needs: Annotated[Needs, _says("What it takes.")]


class RuleFile(_Section, frozen=True):
    """One rule file. Every file may hold any of the sections; ids are unique over all files."""

    program: Annotated[Program, _says("Exactly once over all files.")] | UnsetType = UNSET
    factors: Annotated[dict[Name, Factor], _says("Emission factors by name.")] = msgspec.field(
        default_factory=dict
    )
    action_types: Annotated[dict[ActionTypeName, ActionType], _says("The catalogue by name.")] = (
        msgspec.field(default_factory=dict)
    )
    rules: Annotated[tuple[Rule, ...], _says("What actions save and earn.")] = ()
    campaigns: Annotated[tuple[Campaign, ...], _says("Times of extra energy.")] = ()
    badges: Annotated[tuple[Badge, ...], _says("Marks of honour.")] = ()
