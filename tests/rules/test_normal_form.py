"""Texts that name the same thing have one normal form; texts that name others have another."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.rules.decide.judge import Candidate, Judged, by_key_of, claims_of, judge
from service.rules.decide.normal_form import normal_form, tidied
from tests.rules.sets import NOW, PROGRAM, rulebook_of, shipped_rulebook

SPELLINGS = json.loads(
    (Path(__file__).parents[1] / "partners" / "spellings.json").read_text("utf-8")
)
MORE = {"payment.utility_bill": {"kind": "gas"}, "transit.high_speed_rail": {"distance_km": 9}}
RULEBOOK = shipped_rulebook()
BOTTLES = f"""{PROGRAM}
action_types:
  recycling.bottle:
    category: recycling
    reported_by: [participant]
    attributes: {{no: {{type: string}}}}
    claim: {{by: no, leading_zeros: kept}}
rules:
  - id: bottle
    action: recycling.bottle
    earns: 1
    limits: [{{per: day, count: 1, by: no}}]
    examples: [{{given: {{no: x}}, expect: {{earns: 1}}}}]
"""


@pytest.mark.parametrize("type_", SPELLINGS)
def test_the_catalogue_takes_one_spelling_of_a_thing_for_another_or_refuses_it(type_):
    ((name, spellings),) = SPELLINGS[type_].items()
    kind, claims, refused = RULEBOOK.action_types[type_], set(), []
    for text in spellings:
        attributes = {name: text} | MORE.get(type_, {})
        candidate = Candidate(type_, attributes, NOW, "partner", True, "p")
        judged = judge(RULEBOOK, candidate, NOW)
        if isinstance(judged, Judged):
            assert judged.claims == claims_of(kind, candidate, judged.local_date)
            claims.add(judged.claims[0])
        else:
            refused.append(text)
    assert len(claims) == 1
    # A hyphen that only looks like one, or a space between.
    assert all("\u2010" in text or "\u2011" in text or " " in text.strip() for text in refused)
    assert len(refused) == 1


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("BX-1", "bx-1"),
        ("\ufeff\u00a0BX-1\u2060\u200d\u3164\ufe0f", "bx-1"),
        ("\ufffcBX-1\u2800\U0001d159\u180f", "bx-1"),
        ("\uff22\uff38-1", "bx-1"),
        ("Stra\u00dfe", "strasse"),
        ("0071", "0071"),
        ("B X", "b x"),
        ("A\u20111", "a\u20101"),
        ("\u0410-1", "\u0430-1"),
    ],
)
def test_normal_forms(text, form):
    assert normal_form(text) == form
    assert by_key_of(text) == form


@pytest.mark.parametrize("leading_zeros", ["kept", "ignored"])
def test_what_shows_nothing_is_one_text(leading_zeros):
    """Claimed, it is paid once; counted by, it is one value, and still told from none."""
    book = rulebook_of(BOTTLES.replace("kept", leading_zeros))
    kind, claims, counted = book.action_types["recycling.bottle"], set(), set()
    for text in (" ", "  ", "\u200b", "\u200b\u200b", "\u3000\ufeff", "\t\u3164", "\u2800"):
        told = Candidate(kind.name, {"no": text}, NOW, "participant", False, None)
        judged = judge(book, told, NOW)
        assert isinstance(judged, Judged)
        claims.add(judged.claims)
        counted.add(judged.counters)
        assert normal_form(text) == ""
    (claimed,), (counter,) = claims, counted
    assert [claim.value for claim in claimed] == ['[""]@ever']
    assert counter[0].by_key not in {by_key_of(None), by_key_of("0")}


@given(st.text())
def test_a_normal_form_is_its_own(text):
    form = normal_form(text)
    assert normal_form(form) == form
    assert normal_form(f"\u200b{text} \t") == form
    assert tidied(tidied(text)) == tidied(text)
