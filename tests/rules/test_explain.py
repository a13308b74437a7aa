"""How awards explain themselves: numbers, units and sources, in one sentence."""

import pytest

from service.rules.decide.evaluate import Award
from service.rules.decide.explain import explain_award
from tests.rules.sets import PROGRAM, WALK, rulebook_of, shipped_rulebook, walk_rules

SHIPPED = shipped_rulebook()


def explained(rule, attributes, saved_g, energy_g, *, limited_by=None, rulebook=SHIPPED):
    return explain_award(
        rulebook, attributes, Award(rule, saved_g, energy_g, limited_by, (), failed=False)
    )


WALK_SAVED = "saves 5.6 km x 100.95 g/pkm = 565 g CO2e (UK DESNZ 2026)"
METRO_SAVED = "saves 8.2 km x (100.95 g/pkm - 15.49 g/pkm) = 701 g CO2e (UK DESNZ 2026)"
ERASED = "160 g of energy and 565 g CO2e saved; what was reported is erased"


@pytest.mark.parametrize(
    ("rule", "attributes", "grams", "text"),
    [
        (
            "walk",
            {"steps": 8000, "distance_km": 5.6},
            (565, 160),
            f"8000 steps x 0.02 g = 160 g; {WALK_SAVED}",
        ),
        ("walk", {"steps": 8000}, (0, 160), "8000 steps x 0.02 g = 160 g"),
        ("bike", {"distance_km": 4.2}, (424, 424), "4.2 km x 100.95 g/pkm = 424 g (UK DESNZ 2026)"),
        (
            "shared-bike",
            {"distance_km": 2},
            (209, 209),
            "2 km x (162 g/pkm - 57.5 g/pkm) = 209 g (ITF Good to Go? 2020)",
        ),
        ("metro-trip", {"distance_km": 8.2}, (701, 52), f"52 g; {METRO_SAVED}"),
        ("utility-bill", {"meter_no": "W", "kind": "gas"}, (0, 262), "262 g"),
        ("box", {"box_code": "B"}, (37, 37), "37 g/box = 37 g (Cainiao and ZTO)"),
        (
            "paperless",
            {"pages": 24},
            (110, 110),
            "24 pages x 4.58 g/sheet = 110 g (ADEME Base Carbone)",
        ),
        ("walk", None, (565, 160), ERASED),
        ("gone", {}, (565, 160), ERASED),
    ],
)
def test_shipped_rules(rule, attributes, grams, text):
    assert explained(rule, attributes, *grams) == text


def test_a_cut_is_told_with_its_limit():
    walked = explained("walk", {"steps": 20000}, 0, 296, limited_by="296 g per day")
    assert walked == "20000 steps x 0.02 g, cut to 296 g by the limit of 296 g per day"
    metro = explained("metro-trip", {}, 0, 0, limited_by="5 per day")
    assert metro == "52 g, cut to 0 g by the limit of 5 per day"


@pytest.mark.parametrize(
    ("earns", "attributes", "text"),
    [
        ("steps * 2 + 5", {"steps": 3}, "3 steps x 2 g + 5 g = 9 g"),
        ("2 * steps", {"steps": 3}, "2 g x 3 steps = 9 g"),
        ("(steps + 1) * 2", {"steps": 3}, "(3 steps + 1) x 2 g = 9 g"),
        ("steps - (2 - 1)", {"steps": 3}, "3 steps - (2 g - 1 g) = 9 g"),
        ("min(steps, 9) + floor(2.5)", {"steps": 3}, "min(3 steps, 9) + floor(2.5) = 9 g"),
        ("has(shoe) ? 5 : 3", {"shoe": "boot"}, "5 g = 9 g"),
        ("has(shoe) ? 5 : 3", {}, "3 g = 9 g"),
        ("!has(shoe) ? 5 : 3", {}, "5 g = 9 g"),
        ("has(shoe) && shoe == 'boot' ? 5 : 3", {"shoe": "boot"}, "5 g = 9 g"),
        ("has(shoe) && shoe != 'boot' ? 5 : 3", {"shoe": "boot"}, "3 g = 9 g"),
        ("steps > 5 || steps == 3 ? 5 : 3", {"steps": 3}, "5 g = 9 g"),
        ("steps >= 5 || steps < 3 || steps <= 2 || steps != 3 ? 5 : 3", {"steps": 3}, "3 g = 9 g"),
        ("3 < steps ? 5 : 3", {"steps": 4}, "5 g = 9 g"),
        ("true ? steps : 3", {"steps": 4}, "4 steps = 9 g"),
        ("new ? 5 : 3", {"new": True}, "5 g = 9 g"),
        ("!new ? 5 : 3", {"new": True}, "3 g = 9 g"),
        ("verified ? 5 : steps", {"steps": 4}, "verified ? 5 g : 4 steps = 9 g"),
        (
            "!verified && hour + 1 < 9 ? 5 : 3",
            {},
            "not(verified) && hour + 1 < 9 ? 5 g : 3 g = 9 g",
        ),
        (
            "steps in [1, 2] || region == 'CN' ? 5 : 3",
            {"steps": 4},
            "4 steps in [1, 2] || region == CN ? 5 g : 3 g = 9 g",
        ),
        (
            "(has(shoe) ? 1 : 2) * steps",
            {"steps": 0.12345678},
            "(2) x 0.123457 steps = 9 g",
        ),
        (
            "has(shoe) && shoe.startsWith('b') ? 5 : 3",
            {"shoe": "boot"},
            "has(shoe) && startsWith(boot, b) ? 5 g : 3 g = 9 g",
        ),
        ("factors.walk * steps", {"steps": 3}, "7 g/step x 3 steps = 9 g"),
    ],
)
def test_any_expression_shows_its_numbers(earns, attributes, text):
    factor = "factors: {walk: {value: 7, unit: g/step, source: s, year: 2026}}"
    new = "      new: {type: boolean, required: false}\n"
    earns = earns.replace("new ?", "(has(new) && new) ?") if "new" in earns else earns
    rule = f'{{id: r, action: mobility.walk, title: t, earns: "{earns}"}}'
    rulebook = rulebook_of(PROGRAM, factor, WALK + new, f"rules: [{rule}]")
    assert explained("r", attributes, 0, 9, rulebook=rulebook) == text


def test_a_constant_saving_is_shown():
    rulebook = walk_rules("id: r, saves: 7, earns: 2")
    assert explained("r", {}, 7, 2, rulebook=rulebook) == "2 g; saves 7 g CO2e"


def test_a_constant_that_rests_on_a_factor_names_its_source():
    factor = 'factors: {box: {value: 37, unit: g/box, source: "A courier, 2026", year: 2026}}'
    saving = "{id: r, action: mobility.walk, title: t, saves: factors.box, earns: 2}"
    both = "{id: b, action: mobility.walk, title: t, saves: 2 * factors.box}"
    rulebook = rulebook_of(PROGRAM, factor, WALK, f"rules: [{saving}, {both}]")
    told = explained("r", {}, 37, 2, rulebook=rulebook)
    assert told == "2 g; saves 37 g/box = 37 g CO2e (A courier)"
    assert explained("b", {}, 74, 74, rulebook=rulebook) == "2 x 37 g/box = 74 g (A courier)"
