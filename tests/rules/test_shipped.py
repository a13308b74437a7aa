"""The shipped catalogue against the facts that it has to hold."""

import pytest

from service.rules.check import failed_examples
from service.rules.compile import compile_rulebook
from service.rules.judge import Judged, judge
from service.rules.load import read_folder
from tests.rules.sets import NOW, ROOT, candidate, decide, shipped, shipped_rulebook

RULEBOOK = shipped_rulebook()

CATALOGUE = {
    "mobility.walk": ("steps distance_km?", "participant device"),
    "mobility.bike": ("distance_km duration_min?", "participant device partner"),
    "mobility.shared_bike": ("distance_km duration_min? ride_no?", "partner"),
    "transit.bus_trip": ("distance_km? duration_min? ticket_no?", "partner"),
    "transit.metro_trip": ("distance_km? duration_min? ticket_no?", "partner"),
    "transit.rail_trip": ("distance_km? duration_min? ticket_no?", "partner"),
    "payment.in_store": ("order_no amount", "partner"),
    "payment.e_invoice": ("invoice_no", "participant partner"),
    "payment.utility_bill": ("meter_no kind", "partner"),
    "office.paperless": ("pages", "participant partner"),
    "recycling.box": ("box_code station?", "participant partner"),
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
    ("recycling.box", {"box_code": "1"}, 37, 37, None, None),
]


@pytest.mark.parametrize("fact", FACTS, ids=lambda fact: fact[0])
def test_energy_and_limits_are_the_contracts(fact):
    action, attributes, energy_g, saved_g, most_g, limit = fact
    reporter = "participant" if action == "mobility.walk" else "partner"
    asked = candidate(action, attributes, reporter=reporter, verified=reporter == "partner")
    judged = judge(RULEBOOK, asked, NOW)
    first = decide(RULEBOOK, judged)
    assert (first.energy_g, first.saved_g) == (energy_g, saved_g)
    usage, total = {}, 0
    for _ in range(40):
        (award,) = decide(RULEBOOK, judged, usage).awards
        total += award.energy_g
        for key, n, grams in award.counters:
            used_n, used_g = usage.get(key, (0, 0))
            usage[key] = (used_n + n, used_g + grams)
    assert total == (40 * energy_g if most_g is None else most_g)
    assert award.limited_by == limit


@pytest.mark.parametrize(
    ("action", "attributes", "claim"),
    [
        ("recycling.box", {"box_code": "B"}, ("recycling.box/box_code/ever/all", '["B"]@ever')),
        (
            "payment.utility_bill",
            {"meter_no": "M", "kind": "gas"},
            ("payment.utility_bill/meter_no/month/all", '["M"]@2026-11'),
        ),
        (
            "payment.in_store",
            {"order_no": "O", "amount": 5},
            ("payment.in_store/order_no/ever/partner/p", '["O"]@ever'),
        ),
        (
            "mobility.shared_bike",
            {"distance_km": 1, "ride_no": "R"},
            ("mobility.shared_bike/ride_no/ever/partner/p", '["R"]@ever'),
        ),
        (
            "transit.metro_trip",
            {"ticket_no": "T"},
            ("transit.metro_trip/ticket_no/ever/partner/p", '["T"]@ever'),
        ),
        ("payment.e_invoice", {"invoice_no": "I"}, None),
        ("office.paperless", {"pages": 3}, None),
    ],
)
def test_claims_are_the_contracts(action, attributes, claim):
    asked = candidate(action, attributes, reporter="partner", verified=True, partner_id="p")
    judged = judge(RULEBOOK, asked, NOW)
    assert isinstance(judged, Judged)
    assert judged.claim == claim


def test_every_factor_can_be_looked_up():
    for factor in RULEBOOK.factors.values():
        assert factor.source
        assert factor.url.startswith("http")
        assert factor.unit.startswith("g/")
        assert factor.year >= 2020


def test_titles_and_hints_speak_two_languages():
    for kind in RULEBOOK.action_types.values():
        assert set(kind.title.by_language) == set(kind.hint.by_language) == {"en", "zh"}
    assert all(set(rule.title.by_language) == {"en", "zh"} for rule in RULEBOOK.rules.values())


def test_the_folder_holds_nothing_else():
    files, _ = read_folder(ROOT / "rules")
    others = {path.name for path in (ROOT / "rules").iterdir()} - {
        name.rpartition("/")[2] for name in files
    }
    assert others <= {"README.md"}


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
