"""The shipped catalogue against the facts that it has to hold."""

import pytest

from service.rules.compile.draft import compile_rulebook
from service.rules.decide.judge import Judged, Refusal, judge
from service.rules.language.load import read_folder
from service.rules.trial.check import failed_examples
from tests.rules.sets import NOW, ROOT, candidate, decide, shipped, shipped_rulebook

RULEBOOK = shipped_rulebook()

CATALOGUE = {
    "mobility.walk": ("steps distance_km?", "participant device"),
    "mobility.bike": ("distance_km duration_min?", "participant device partner"),
    "mobility.shared_bike": ("distance_km duration_min? ride_no?", "partner"),
    "mobility.carpool": ("distance_km riders", "participant partner"),
    "transit.bus_trip": ("distance_km? duration_min? ticket_no?", "partner"),
    "transit.metro_trip": ("distance_km? duration_min? ticket_no?", "partner"),
    "transit.rail_trip": ("distance_km? duration_min? ticket_no?", "partner"),
    "transit.train_ticket": ("order_no distance_km?", "partner"),
    "transit.high_speed_rail": ("distance_km ticket_no", "partner"),
    "payment.in_store": ("order_no amount", "partner"),
    "payment.e_invoice": ("invoice_no", "participant partner"),
    "payment.utility_bill": ("meter_no kind", "partner"),
    "payment.e_toll": ("pass_no", "partner"),
    "health.registration": ("visit_no", "partner"),
    "office.paperless": ("pages", "participant partner"),
    "office.remote_meeting": ("minutes people", "participant partner"),
    "office.act": ("act", "participant"),
    "recycling.box": ("box_code station?", "participant partner"),
    "recycling.reusable_box": ("box_code", "partner"),
    "recycling.bottle": ("count machine_no?", "partner"),
    "recycling.clothes": ("weight_kg", "partner"),
    "recycling.phone": ("item_no", "partner"),
    "recycling.appliance": ("item_no", "partner"),
    "recycling.books": ("count", "partner"),
    "consumption.no_cutlery": ("order_no", "participant partner"),
    "consumption.no_bag": ("order_no", "participant partner"),
    "consumption.green_product": ("order_no label", "partner"),
    "consumption.second_hand": ("order_no kind", "partner"),
    "consumption.green_packaging": ("order_no kind", "partner"),
}


def test_types_attributes_and_reporters_are_the_contracts():
    assert {
        name: (
            " ".join(
                attribute if content.required else f"{attribute}?"
                for attribute, content in kind.attributes.items()
            ),
            kind.reported_by,
        )
        for name, kind in RULEBOOK.action_types.items()
    } == {
        name: (attributes, frozenset(reporters.split()))
        for name, (attributes, reporters) in CATALOGUE.items()
    }


FACTS = [
    ("mobility.walk", {"steps": 10_000}, 200, 0, 296, "296 g per day"),
    ("transit.metro_trip", {}, 52, 0, 5 * 52, "5 per day"),
    ("transit.bus_trip", {}, 80, 0, None, None),
    ("payment.in_store", {"order_no": "1", "amount": 1}, 5, 0, 50, "10 per day"),
    ("payment.e_invoice", {"invoice_no": "1"}, 5, 0, 25, "5 per day"),
    ("payment.utility_bill", {"meter_no": "1", "kind": "gas"}, 262, 0, 2620, "10 per month"),
    ("transit.train_ticket", {"order_no": "1"}, 136, 0, 1360, "10 per month"),
    ("health.registration", {"visit_no": "1"}, 277, 0, 5 * 277, "5 per month"),
    ("payment.e_toll", {"pass_no": "1"}, 23, 0, None, None),
    ("recycling.box", {"box_code": "1"}, 37, 37, None, None),
    ("recycling.reusable_box", {"box_code": "1"}, 37, 37, None, None),
    ("recycling.clothes", {"weight_kg": 2}, 790, 7200, 790, "1 per day"),
    ("consumption.no_cutlery", {"order_no": "1"}, 16, 16, None, None),
    ("consumption.no_bag", {"order_no": "1"}, 21, 0, None, None),
    *(
        ("consumption.green_packaging", {"order_no": "1", "kind": kind}, grams, grams, None, None)
        for kind, grams in (("e_waybill", 18), ("reused_box", 37), ("original_box", 0))
    ),
]

# What people and their phones tell earns no more than this a day, however often they tell it.
SELF_REPORTS = [
    ("mobility.bike", {"distance_km": 10}, 1000, "1000 g per day"),
    ("mobility.carpool", {"distance_km": 100, "riders": 9}, 500, "500 g per day"),
    ("payment.e_invoice", {"invoice_no": "1"}, 25, "5 per day"),
    ("office.paperless", {"pages": 100}, 150, "150 g per day"),
    ("office.remote_meeting", {"minutes": 600, "people": 100}, 0, None),
    ("office.act", {"act": "own_cutlery"}, 16, "1 per day"),
    ("recycling.box", {"box_code": "1"}, 5 * 37, "5 per day"),
    ("consumption.no_cutlery", {"order_no": "1"}, 48, "3 per day"),
    ("consumption.no_bag", {"order_no": "1"}, 63, "3 per day"),
]


@pytest.mark.parametrize("fact", FACTS, ids=lambda fact: fact[0])
def test_energy_and_limits_are_the_contracts(fact):
    action, attributes, energy_g, saved_g, most_g, limit = fact
    reporter = "participant" if action == "mobility.walk" else "partner"
    asked = candidate(action, attributes, reporter=reporter, verified=reporter == "partner")
    judged = judge(RULEBOOK, asked, NOW)
    first = decide(RULEBOOK, judged)
    assert (first.energy_g, first.saved_g) == (energy_g, saved_g)
    assert paid(judged, times=40) == (40 * energy_g if most_g is None else most_g, limit)


def paid(judged, times):
    """What one rule pays for an action that comes so often, and what cut the last of them."""
    usage, total = {}, 0
    for _ in range(times):
        (award,) = decide(RULEBOOK, judged, usage).awards
        total += award.energy_g
        for key, n, grams in award.counters:
            used_n, used_g = usage.get(key, (0, 0))
            usage[key] = (used_n + n, used_g + grams)
    return total, award.limited_by


@pytest.mark.parametrize("told", SELF_REPORTS, ids=lambda told: told[0])
def test_energy_is_not_had_by_typing(told):
    action, attributes, most_g, limit = told
    assert paid(judge(RULEBOOK, candidate(action, attributes), NOW), times=200) == (most_g, limit)


def test_every_type_that_a_person_may_report_is_bounded():
    told = {action for action, *_ in SELF_REPORTS} | {"mobility.walk"}
    assert told == {
        name
        for name, kind in RULEBOOK.action_types.items()
        if kind.reported_by & {"participant", "device"}
    }


@pytest.mark.parametrize(
    ("action", "attributes"),
    [
        ("mobility.bike", {"distance_km": 300}),
        ("mobility.bike", {"distance_km": 300, "duration_min": 300}),
        ("mobility.carpool", {"distance_km": 101, "riders": 2}),
        ("mobility.walk", {"steps": 8000, "distance_km": 12.1}),
        ("office.paperless", {"pages": 500}),
    ],
)
def test_what_nobody_confirms_must_be_believable(action, attributes):
    refused = judge(RULEBOOK, candidate(action, attributes), NOW)
    assert isinstance(refused, Refusal)
    assert refused.reason == "implausible"


def test_there_are_fourteen_acts():
    assert len(RULEBOOK.action_types["office.act"].attributes["act"].one_of) == 14


@pytest.mark.parametrize(
    ("action", "attributes", "claim"),
    [
        ("recycling.box", {"box_code": "B"}, ("recycling.box/box_code/ever/all", '["b"]@ever')),
        (
            "payment.utility_bill",
            {"meter_no": "M", "kind": "gas"},
            ("payment.utility_bill/meter_no/month/all", '["m"]@2026-11'),
        ),
        (
            "payment.in_store",
            {"order_no": "O", "amount": 5},
            ("payment.in_store/order_no/ever/partner/p", '["o"]@ever'),
        ),
        (
            "mobility.shared_bike",
            {"distance_km": 1, "ride_no": "R"},
            ("mobility.shared_bike/ride_no/ever/partner/p", '["r"]@ever'),
        ),
        (
            "transit.metro_trip",
            {"ticket_no": "T"},
            ("transit.metro_trip/ticket_no/ever/partner/p", '["t"]@ever'),
        ),
        *(
            (action, attributes, (f"{action}/{name}/ever/partner/p", f'["{value.lower()}"]@ever'))
            for action, attributes in (
                ("transit.train_ticket", {"order_no": "O"}),
                ("transit.high_speed_rail", {"ticket_no": "T", "distance_km": 9}),
                ("payment.e_toll", {"pass_no": "P"}),
                ("health.registration", {"visit_no": "V"}),
                ("recycling.phone", {"item_no": "I"}),
                ("recycling.appliance", {"item_no": "I"}),
                ("consumption.no_cutlery", {"order_no": "O"}),
                ("consumption.no_bag", {"order_no": "O"}),
                ("consumption.green_product", {"order_no": "O", "label": "l"}),
                ("consumption.second_hand", {"order_no": "O", "kind": "k"}),
                ("consumption.green_packaging", {"order_no": "O", "kind": "e_waybill"}),
            )
            for name, value in [next(iter(attributes.items()))]
        ),
        (
            "recycling.reusable_box",
            {"box_code": "B"},
            ("recycling.reusable_box/box_code/ever/all", '["b"]@ever'),
        ),
        ("payment.e_invoice", {"invoice_no": "I"}, None),
        ("office.paperless", {"pages": 3}, None),
    ],
)
def test_claims_are_the_contracts(action, attributes, claim):
    asked = candidate(action, attributes, reporter="partner", verified=True, partner_id="p")
    judged = judge(RULEBOOK, asked, NOW)
    assert isinstance(judged, Judged)
    assert [claimed[:2] for claimed in judged.claims[:1]] == ([claim] if claim else [])
    # What a person may tell as well is theirs, too: it is paid once, whoever tells it first.
    own = [claimed for claimed in judged.claims if claimed.is_own]
    assert len(own) == (action in {"consumption.no_cutlery", "consumption.no_bag"})


def test_every_factor_can_be_looked_up():
    for factor in RULEBOOK.factors.values():
        assert factor.source
        assert factor.url.startswith("http")
        assert factor.unit.startswith("g/")
        assert factor.year >= 2008


def test_titles_and_hints_speak_two_languages():
    for kind in RULEBOOK.action_types.values():
        assert set(kind.title.by_language) == set(kind.hint.by_language) == {"en", "zh"}
    named = [*RULEBOOK.rules.values(), *RULEBOOK.campaigns.values(), *RULEBOOK.badges.values()]
    assert all(set(each.title.by_language) == {"en", "zh"} for each in named)


def test_the_folder_holds_nothing_else():
    files, _ = read_folder(ROOT / "rules")
    others = {path.name for path in (ROOT / "rules").iterdir()} - {
        name.rpartition("/")[2] for name in files
    }
    assert others <= {"README.md", "tests"}


def test_the_guides_rule_does_what_it_says():
    guide = (ROOT / "rules" / "README.md").read_text()
    text = guide.split("## Write a rule")[1].split("```yaml\n")[1].split("```")[0]
    files = shipped()
    mobility = next(name for name in files if name.endswith("mobility.yaml"))
    files[mobility] = files[mobility].partition("\nrules:")[0] + "\n" + text
    draft = compile_rulebook(files)
    assert draft.errors == []
    assert failed_examples(draft) == []
    assert draft.rulebook.rules["bike"].saves.text == "distance_km * factors.petrol_car_pkm"
