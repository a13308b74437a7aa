"""Rule sets as a whole: several files, what a rulebook holds, and what editors are told."""

from datetime import UTC, date, datetime, timedelta

import pytest

from service.rules.compile.draft import compile_rulebook, sha256_of
from service.rules.decide.rulebook import period_names
from tests.rules.sets import PROGRAM, SAMPLE, WALK, rulebook_of

SECONDS = "minutes: {type: number, unit: s, minimum: 0, maximum: 5}"


def test_the_languages_own_sample_is_good():
    draft = compile_rulebook({"sample.yaml": SAMPLE})
    assert draft.problems == ()
    program = draft.rulebook.program
    assert (program.taking.share, program.watering.amounts_g) == (0.3, (10, 18, 33, 66))
    assert program.shield.lasts == timedelta(hours=24)
    assert [limit.text for limit in draft.rulebook.rules["metro-trip"].limits] == [
        "5 per day", "3000 g per month", "10 per day", "9 per month",
    ]  # fmt: skip


def test_what_a_programme_does_not_say_has_its_default():
    program = rulebook_of(PROGRAM).program
    assert (program.language, program.taking.max_g, program.taking.keep_share) == ("en", 30, 0.6)
    assert program.taking.after_ripening == timedelta()
    assert (program.watering.per_friend_per_day, program.shield.per_week) == (3, 1)


def test_names_are_unique_over_all_files():
    rules = "rules: [{id: a, action: mobility.walk, title: t, earns: 1}]\n"
    factor = "factors: {car: {value: 1, unit: g/km, source: s, year: 2026}}\n"
    files = {"a.yaml": PROGRAM + WALK + factor + rules, "b.yaml": PROGRAM + WALK + factor + rules}
    assert [str(problem) for problem in compile_rulebook(files).errors] == [
        "b.yaml:2:1: error: program stands already in a.yaml:2",
        "b.yaml:8:3: error: mobility.walk stands already in a.yaml:8",
        "b.yaml:16:11: error: car stands already in a.yaml:16",
        "b.yaml:17:14: error: the id a stands already in a.yaml:17",
    ]


def test_order_of_rules_and_files_changes_nothing():
    rules = ["{id: b, action: mobility.walk, title: t, earns: 1}"]
    rules.append(rules[0].replace("id: b", "id: a"))
    first = rulebook_of(PROGRAM, WALK, f"rules: [{rules[0]}, {rules[1]}]")
    second = compile_rulebook(
        {
            "b.yaml": f"rules: [{rules[1]}]",
            "a.yaml": f"rules: [{rules[0]}]",
            "c.yaml": PROGRAM + WALK,
        }
    ).rulebook
    for rulebook in (first, second):
        assert [rule.id for rule in rulebook.action_types["mobility.walk"].rules] == ["a", "b"]
    assert sha256_of({"x/a.yaml": "1", "x/b.yaml": "2"}) == sha256_of(
        {"b.yaml": "2", "a.yaml": "1"}
    )
    assert sha256_of({"a.yaml": "1"}) != sha256_of({"b.yaml": "1"})


def test_a_faulty_rule_does_not_hide_the_faults_of_others():
    text = (
        PROGRAM + WALK.replace("integer", "whole") + "rules:\n"
        "  - {id: a, action: mobility.walk, title: t, earns: nope}\n"
        "  - {id: b, action: nope, title: t, from: 2026-01-02, until: 2026-01-01}\n"
    )
    assert [problem.line for problem in compile_rulebook({"a.yaml": text}).errors] == [
        13,
        17,
        18,
        18,
    ]


def test_a_faulty_program_does_not_hide_the_rest():
    text = (
        "program: {name: x}\n"
        + WALK
        + "rules: [{id: a, action: mobility.walk, title: t, earns: no}]"
    )
    assert [problem.line for problem in compile_rulebook({"a.yaml": text}).errors] == [1, 12]


@pytest.mark.parametrize(
    ("energy", "recorded_at", "ripens_at"),
    [
        (
            '{ripens: {next_day_at: "07:00"}, expires_after: 72h}',
            datetime(2026, 11, 21, 15, 59, tzinfo=UTC),
            datetime(2026, 11, 21, 23, 0, tzinfo=UTC),
        ),
        (
            '{ripens: {next_day_at: "07:00"}, expires_after: 72h}',
            datetime(2026, 11, 21, 16, 0, tzinfo=UTC),
            datetime(2026, 11, 22, 23, 0, tzinfo=UTC),
        ),
        (
            "{ripens: {after: 24h}, expires_after: 3d}",
            datetime(2026, 11, 21, 16, 0, tzinfo=UTC),
            datetime(2026, 11, 22, 16, 0, tzinfo=UTC),
        ),
        (
            "{ripens: {after: 0s}, expires_after: 4320min}",
            datetime(2026, 11, 21, 16, 0, tzinfo=UTC),
            datetime(2026, 11, 21, 16, 0, tzinfo=UTC),
        ),
    ],
)
def test_energy_ripens_and_expires(energy, recorded_at, ripens_at):
    program = rulebook_of(
        f"program: {{name: x, timezone: Asia/Shanghai, energy: {energy}}}"
    ).program
    assert program.ripens_at(recorded_at) == ripens_at
    assert program.expires_at(ripens_at) == ripens_at + timedelta(hours=72)


def test_ripening_follows_a_change_of_the_clocks():
    energy = 'energy: {ripens: {next_day_at: "02:30"}, expires_after: 72h}'
    program = rulebook_of(f"program: {{name: x, timezone: Europe/Berlin, {energy}}}").program
    # 02:30 of 29 March 2026 does not exist there: it is taken as 03:30 summer time.
    assert program.ripens_at(datetime(2026, 3, 28, 12, tzinfo=UTC)) == datetime(
        2026, 3, 29, 1, 30, tzinfo=UTC
    )


def test_periods_and_their_bounds():
    program = rulebook_of(PROGRAM).program
    day = date(2026, 12, 31)
    assert period_names(day) == ("2026-12-31", "2026-W53", "2026-12", "2026", "ever")
    assert program.period_bounds("day", day) == (
        datetime(2026, 12, 30, 16, tzinfo=UTC),
        datetime(2026, 12, 31, 16, tzinfo=UTC),
    )
    assert program.period_bounds("week", day) == (
        datetime(2026, 12, 27, 16, tzinfo=UTC),
        datetime(2027, 1, 3, 16, tzinfo=UTC),
    )
    assert program.period_bounds("month", day) == (
        datetime(2026, 11, 30, 16, tzinfo=UTC),
        datetime(2026, 12, 31, 16, tzinfo=UTC),
    )
    assert program.period_bounds("year", day) == (
        datetime(2025, 12, 31, 16, tzinfo=UTC),
        datetime(2026, 12, 31, 16, tzinfo=UTC),
    )
    assert program.period_bounds("ever", day) is None


@pytest.mark.parametrize(
    ("replaced", "by", "message"),
    [
        ("expires_after: 72h", "expires_after: 4000d", "expires_after must be at most 3660d"),
        ('next_day_at: "07:00"', "after: 400d", "after must be at most 366d"),
        ('next_day_at: "07:00"', "next_day_at: 7am",
         "next_day_at must be a time of day, like \"07:00\", not '7am'"),
        ("Asia/Shanghai", "Nowhere",
         "there is no time zone Nowhere; it is an IANA name, like Asia/Shanghai"),
        ("Asia/Shanghai", "localtime",
         "there is no time zone localtime; it is an IANA name, like Asia/Shanghai"),
        ("Asia/Shanghai", "Factory",
         "there is no time zone Factory; it is an IANA name, like Asia/Shanghai"),
    ],
)  # fmt: skip
def test_bounds_of_the_programme(replaced, by, message):
    (problem,) = compile_rulebook({"a.yaml": PROGRAM.replace(replaced, by)}).errors
    assert problem.message == message


@pytest.mark.parametrize(
    ("attribute", "message"),
    [
        (
            "minutes: {type: number, unit: min, maximum: 60}",
            "minutes needs a minimum of at least 0",
        ),
        (
            "minutes: {type: number, unit: min, minimum: 0}",
            "minutes needs a maximum of at most 1440 min (24 h)",
        ),
        (
            "minutes: {type: number, unit: h, minimum: 0, maximum: 25}",
            "minutes needs a maximum of at most 24 h (24 h)",
        ),
        (
            "minutes: {type: number, unit: s, minimum: 5, maximum: 1}",
            "minimum 5 lies above maximum 1",
        ),
        ("minutes: {type: string, unit: min}", "minutes must be a number with unit s, min or h"),
        ("minutes: {type: integer, unit: s, minimum: 0, maximum: 86400}", None),
        (
            f"true: {{type: number}}, {SECONDS}",
            "true is a word of the expressions; choose another name",
        ),
        (f"hour: {{type: number}}, {SECONDS}", "hour is a name of the rules; choose another name"),
        (
            f"flag: {{type: boolean, one_of: [a]}}, {SECONDS}",
            "one_of is for strings, not for boolean",
        ),
    ],
)
def test_attributes_that_cannot_be(attribute, message):
    kind = "title: t, category: home, reported_by: [device], lasts: minutes, overlap: exclusive"
    text = f"{PROGRAM}\naction_types: {{a.b: {{{kind}, attributes: {{{attribute}}}}}}}"
    errors = compile_rulebook({"a.yaml": text}).errors
    assert [problem.message for problem in errors] == ([] if message is None else [message])


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ("accepted_for: 0s", "accepted_for must be longer than 0"),
        ("reported_by: [device, device]", "device stands here twice"),
        ("claim: {by: steps, per: day}", None),
        ("claim: {by: stepps}", "stepps is not an attribute here; did you mean steps?"),
    ],
)
def test_acceptance_that_cannot_be(more, message):
    text = PROGRAM + WALK + f"    {more}\n"
    if more.startswith("reported_by"):
        text = text.replace("    reported_by: [participant, device, partner]\n", "")
    errors = compile_rulebook({"a.yaml": text}).errors
    assert [problem.message for problem in errors] == ([] if message is None else [message])


@pytest.mark.parametrize(("when", "verdict"), [("5 > 3", "always"), ("5 < 3", "never")])
def test_a_condition_that_never_changes_is_warned_of(when, verdict):
    rule = f"rules: [{{id: a, action: mobility.walk, title: t, when: {when}, earns: 1}}]"
    messages = [p.message for p in compile_rulebook({"a.yaml": PROGRAM + WALK + rule}).problems]
    assert f"this condition {verdict} holds" in messages


def test_a_hint_without_the_programmes_language_is_warned_of():
    text = PROGRAM + WALK + "    hint: {zh: 走}\n"
    warnings = [str(problem) for problem in compile_rulebook({"a.yaml": text}).problems]
    assert "a.yaml:16:11: warning: there is no text in en, the programme's language" in warnings
