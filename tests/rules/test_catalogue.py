"""What apps show: the catalogue in the reader's language, and what is left to do today."""

import msgspec
import pytest

from service.rules.decide.languages import Reader, preferred_languages
from service.rules.decide.rulebook import CounterKey
from service.rules.tell import catalogue
from service.rules.tell.catalogue import suggestion_counters
from tests.rules.sets import NOW, PROGRAM, rulebook_of, shipped_rulebook, walk_rules

SHIPPED = shipped_rulebook()


def list_action_types(*args):
    """The catalogue as it is sent."""
    return msgspec.json.decode(msgspec.json.encode(catalogue.list_action_types(*args)))


def list_suggestions(*args):
    """The suggestions as they are sent."""
    return msgspec.json.decode(msgspec.json.encode(catalogue.list_suggestions(*args)))


@pytest.mark.parametrize(
    ("header", "languages"),
    [
        ("", ()),
        ("zh-CN,zh;q=0.9,en;q=0.8", ("zh-CN", "zh", "en")),
        ("en;q=0.5, zh", ("zh", "en")),
        ("en;q=0, zh;q=x, de;level=1, fr; q=0.3", ("fr",)),
        ("a," * 5000, ("a",) * 10),
        ("*, en-GB;q=0.25,ZH-hans ; Q=0.5", ("ZH-hans", "en-GB")),
        ("en;q=nan, de;q=inf, fr;q=-1, it;q=1e0, es;q=2, zh;q=1.000", ("zh",)),
        ("; ;q=1,,=,zh-,-zh,z_h,\x00,\xff,1zh, en", ("en",)),
    ],
)
def test_accept_language(header, languages):
    assert preferred_languages(header) == languages


@pytest.mark.parametrize(
    ("languages", "title"),
    [((), "Walking"), (("zh-CN", "en"), "步行"), (("de", "zh"), "步行"), (("de",), "Walking")],
)
def test_titles_follow_the_reader(languages, title):
    types = {entry["type"]: entry for entry in list_action_types(SHIPPED, Reader(languages))}
    assert types["mobility.walk"]["title"] == title


@pytest.mark.parametrize(
    ("wanted", "came"),
    [
        ((), ("en", "a")),
        (("zh-Hant",), ("zh-Hant", "c")),
        (("ZH-HANT-tw",), ("zh-Hant", "c")),
        (("zh-Hans-CN",), ("zh", "b")),
        (("zh",), ("zh", "b")),
        (("fr", "zh"), ("zh", "b")),
        (("en-GB", "zh"), ("en", "a")),
        (("fr",), ("en", "a")),
    ],
)
def test_an_exact_tag_comes_before_its_language(wanted, came):
    book = rulebook_of(
        PROGRAM,
        "action_types:\n  a.b:\n    title: {en: a, zh: b, zh-Hant: c}\n    category: home\n"
        "    reported_by: [device]\n",
    )
    assert book.action_types["a.b"].title.spoken(wanted) == came


def test_an_answer_tells_its_languages():
    book = rulebook_of(
        PROGRAM,
        "action_types:\n  a.b:\n    title: {en: a, zh: b}\n    hint: plain\n    category: home\n"
        "    reported_by: [device]\n",
    )
    vary = (b"vary", b"Accept-Language")
    reader = Reader(("zh",))
    assert reader.headers() == [vary]
    (entry,) = list_action_types(book, reader)
    assert (entry["title"], entry["hint"], entry["claim"]) == ("b", "plain", None)
    assert reader.headers() == [(b"content-language", b"zh, en"), vary]


def test_a_text_without_the_programmes_language_is_in_its_first():
    book = rulebook_of(
        PROGRAM,
        "action_types:\n  a.b: {title: {zh: b, de: c}, category: home, reported_by: [device]}\n",
    )
    assert book.action_types["a.b"].title.spoken(("fr",)) == ("zh", "b")


def test_the_catalogue_tells_attributes_claims_rules_and_limits():
    types = {entry["type"]: entry for entry in list_action_types(SHIPPED, Reader())}
    assert list(types) == sorted(types)
    bill = types["payment.utility_bill"]
    assert bill == {
        "type": "payment.utility_bill",
        "title": "Utility bill",
        "category": "payment",
        "hint": "Pay water, power and gas online",
        "reported_by": ["partner"],
        "attributes": {
            "meter_no": {
                "type": "string",
                "required": True,
                "max_length": 64,
                "pattern": "[!-~]+",
            },
            "kind": {"type": "string", "required": True, "one_of": ["water", "power", "gas"]},
        },
        "accepted_for_s": 604800,
        "claim": {"by": ["meter_no"], "per": "month", "within": "all"},
        "rules": [
            {
                "rule": "utility-bill",
                "title": "Utility bill",
                "from": None,
                "until": None,
                "when": None,
                "saves": 0,
                "earns": 262,
                "limits": [{"per": "month", "count": 10}],
            }
        ],
    }
    assert types["mobility.walk"]["attributes"]["distance_km"] == {
        "type": "number",
        "required": False,
        "unit": "km",
        "minimum": 0,
        "maximum": 100,
    }
    assert types["mobility.bike"]["rules"][0]["earns"] == "distance_km * factors.petrol_car_pkm"
    assert types["payment.in_store"]["rules"][0]["when"] == "amount >= 1"
    assert types["payment.in_store"]["claim"]["within"] == "partner"


def test_suggestions_tell_what_is_left():
    counters = suggestion_counters(SHIPPED, NOW)
    assert CounterKey("walk/day/", "2026-11-21", "") in counters
    assert CounterKey("utility-bill/month/", "2026-11", "") in counters
    usage = {
        CounterKey("walk/day/", "2026-11-21", ""): (3, 200),
        CounterKey("metro-trip/day/", "2026-11-21", ""): (5, 260),
        CounterKey("in-store-payment/day/", "2026-11-20", ""): (10, 50),
    }
    suggestions = {
        entry["type"]: entry for entry in list_suggestions(SHIPPED, usage, NOW, Reader(("zh",)))
    }
    assert suggestions["mobility.walk"]["rules"][0]["limits"] == [
        {"per": "day", "grams": 296, "left": 96}
    ]
    assert suggestions["mobility.walk"]["hint"] == "短途步行代替开车"
    assert "transit.metro_trip" not in suggestions
    assert suggestions["payment.in_store"]["rules"][0]["limits"][0]["left"] == 10


def test_rules_out_of_their_dates_are_no_suggestion():
    book = walk_rules(
        "id: past, until: 2026-11-21, earns: 1",
        "id: coming, from: 2026-11-22, earns: 1",
        "id: today, from: 2026-11-21, until: 2026-11-22, saves: steps, "
        "limits: [{per: day, count: 2, by: shoe}, {per: week, grams: 9, group: g}]",
    )
    (walk,) = list_suggestions(book, {}, NOW, Reader())
    (rule,) = walk["rules"]
    assert (rule["rule"], rule["from"], rule["until"], rule["earns"]) == (
        "today",
        "2026-11-21",
        "2026-11-22",
        "steps",
    )
    assert rule["limits"] == [
        {"per": "day", "count": 2, "by": "shoe", "left": 2},
        {"per": "week", "grams": 9, "group": "g", "left": 9},
    ]
    assert suggestion_counters(book, NOW) == (CounterKey("group:g/week/", "2026-W47", ""),)
    assert walk["hint"] is None
