"""Rule sets that somebody made to break the checker, to stall it, or to be paid by a fault.

Each is made by a function, so that nothing large stands in memory before it is asked for.
"""

from tests.rules.sets import PROGRAM, WALK

DEEP = "this expression is nested too deeply; 30 levels or terms are allowed"
KIB = 1024
TYPE = "action_types: {a.b: {category: home, reported_by: [device]}}\n"
BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join(['*' + before] * 9)}]\n"
    for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)


def one(text):
    return lambda: {"a.yaml": text}


def earning(earns, *more):
    """A good set but for one expression; `more` are other lines of its rule."""
    lines = "".join(f"    {line}\n" for line in more)
    rule = f"rules:\n  - id: walk\n    action: mobility.walk\n    earns: {earns}\n{lines}"
    return one(PROGRAM + WALK + rule)


def when(condition):
    return earning("5", f"when: {condition}")


def pattern(text):
    return one(PROGRAM + WALK + f"      code: {{type: string, pattern: '{text}'}}\n")


def many_rules(count):
    half = count // 2
    parts = [
        "rules:\n" + "".join(f"- {{id: r{n}, action: a.b, earns: 1}}\n" for n in numbers)
        for numbers in (range(half), range(half, count))
    ]
    return lambda: {"a.yaml": PROGRAM + TYPE, "b.yaml": parts[0], "c.yaml": parts[1]}


def many_expressions(count, text):
    """A rule for each, of one type, in files of a hundred."""
    rules = [f"- {{id: r{n}, action: a.b, earns: '{text(n)}'}}\n" for n in range(count)]
    files = {
        f"r{at // 100:02}.yaml": "rules:\n" + "".join(rules[at : at + 100])
        for at in range(0, count, 100)
    }
    steps = "{steps: {type: number, minimum: 1}, shoe: {type: string}}"
    kind = TYPE.replace("[device]", f"[device], attributes: {steps}")
    return lambda: {"a.yaml": PROGRAM + kind, **files}


def many_patterns(count, text):
    """Attributes with a pattern each, fifty a type."""
    types = [
        f"  a.b{at}:\n    category: home\n    reported_by: [device]\n    attributes:\n"
        + "".join(
            f"      a{n}: {{type: string, pattern: '{text}'}}\n"
            for n in range(at, min(at + 50, count))
        )
        for at in range(0, count, 50)
    ]
    return {
        f"t{at:02}.yaml": "action_types:\n" + "".join(types[at : at + 20])
        for at in range(0, len(types), 20)
    }


def largest_accepted():
    """As much as is allowed of everything that takes long, at once."""
    listed = "steps in [" + ",".join(["1"] * 980) + "] ? 1 : 2"
    files = many_expressions(1_000, lambda n: listed if n < 120 else "1")()
    files |= many_patterns(50, "[a-z]{999}")
    kinds = "".join(f"  c.d{n}: {{category: home, reported_by: [device]}}\n" for n in range(990))
    factors = "".join(
        f"  f{n}: {{value: 1, unit: g/km, source: s, year: 2026}}\n" for n in range(998)
    )
    return files | {"f.yaml": "factors:\n" + factors, "k.yaml": "action_types:\n" + kinds}


def most_values():
    """As many values as are allowed, none of which is of any use."""
    return {f"{number:02}.yaml": "badges:\n" + "- a\n" * 9_990 for number in range(12)}


# By name: the set, and how a line that is told begins; None: it is harmless.
FILES = {
    "alias bomb": (one(BOMB), "a.yaml:1:4: error: anchors (&a) are not allowed"),
    "alias of itself": (one("a: &a [*a]"), "a.yaml:1:4: error: anchors (&a) are not allowed"),
    "10,000 aliases": (
        one("a: &a 1\nb: [" + "*a, " * 9_990 + "]"),
        "a.yaml:1:4: error: anchors (&a) are not allowed",
    ),
    "merge keys": (
        one("a: &a {x: 1}\nb: {<<: *a}"),
        "a.yaml:1:1: error: a is not known in a rule file",
    ),
    "21 levels of [": (
        one("[" * 21 + "]" * 21),
        "a.yaml:1:21: error: values are nested at most 20 levels deep",
    ),
    "21 levels of -": (
        one("- " * 21 + "x"),
        "a.yaml:1:41: error: values are nested at most 20 levels deep",
    ),
    "21 levels of ?": (
        one("? " * 21 + "x"),
        "a.yaml:1:41: error: values are nested at most 20 levels deep",
    ),
    "200,000 levels of [": (
        one("[" * 200_000),
        "a.yaml:1:21: error: values are nested at most 20 levels deep",
    ),
    "50,000 levels of {": (
        one("{a: " * 50_000),
        "a.yaml:1:81: error: values are nested at most 20 levels deep",
    ),
    "257 KiB": (one("#" * 257 * KIB), "a.yaml:1:1: error: a file has at most 256 KiB"),
    "256 KiB of one key": (
        one("x" * 250 * KIB + ": 1"),
        "a.yaml:1:256001: error: this ':' cannot stand here",
    ),
    "256 KiB of one text": (
        one(PROGRAM.replace("Test city", "x" * 250 * KIB)),
        "a.yaml:3:9: error: name has at most 300 characters",
    ),
    "256 KiB of escapes": (
        one('a: "' + "\\u0041" * 40_000 + '"'),
        "a.yaml:1:1: error: a is not known in a rule file",
    ),
    "256 KiB of digits": (
        one("program: " + "9" * 250 * KIB),
        "a.yaml:1:10: error: this number is too large",
    ),
    "256 KiB of line ends": (
        one("\n" * 250 * KIB),
        "a.yaml:1:1: error: this file is empty",
    ),
    "65 files": (
        lambda: {f"{number:02}.yaml": "badges: []" for number in range(65)},
        "00.yaml:1:1: error: a rule set has at most 64 files",
    ),
    "more than 2 MiB": (
        lambda: {f"{number}.yaml": "#" * 250 * KIB for number in range(9)},
        "0.yaml:1:1: error: all files together have at most 2048 KiB",
    ),
    "500,000 nodes": (
        lambda: {f"{number:02}.yaml": "- a\n" * 9_990 for number in range(50)},
        "12.yaml:1:1: error: all files together have at most 125,000 values",
    ),
    "500,000 nodes and a quote": (
        lambda: {f"{number:02}.yaml": "- a\n" * 9_990 + '"' for number in range(50)},
        "12.yaml:1:1: error: all files together have at most 125,000 values",
    ),
    "2,000,000 brackets in each other": (
        lambda: {f"{number}.yaml": "[" * 240_000 for number in range(8)},
        "6.yaml:1:1: error: all files together have at most 125,000 values",
    ),
    "1,300,000 brackets": (
        lambda: {f"{number}.yaml": "[" + "[]," * 80_000 + "]" for number in range(8)},
        "0.yaml:1:1: error: all files together have at most 125,000 values",
    ),
    "12,000 directives": (
        one("".join(f"%TAG !{number}! a:\n" for number in range(12_000)) + "---\nbadges: []"),
        "a.yaml:1:1: error: directives (%) are not allowed",
    ),
    "12,000 directives behind a document": (
        one("--- 'x'\n" + "".join(f"%TAG !{number}! a:\n" for number in range(12_000))),
        "a.yaml:2:1: error: directives (%) are not allowed",
    ),
    "1,001 factors": (
        lambda: {
            f"{at}.yaml": "factors:\n" + "".join(
                f"  f{at}_{n}: {{value: 1, unit: g/m, source: s, year: 2026}}\n" for n in range(501)
            )
            for at in (0, 1)
        },
        "1.yaml:501:3: error: a rule set has at most 1,000 factors",
    ),
    "1,001 action types": (
        lambda: {
            f"{at}.yaml": "action_types:\n" + "".join(
                f"  a{at}.b{n}: {{category: home, reported_by: [device]}}\n" for n in range(501)
            )
            for at in (0, 1)
        },
        "1.yaml:501:3: error: a rule set has at most 1,000 action types",
    ),
    "10,001 nodes": (
        one("- a\n" * 10_000),
        "a.yaml:10000:3: error: a file has at most 10,000 values",
    ),
    "1,001 rules": (many_rules(1_001), "c.yaml:502:3: error: a rule set has at most 1,000 rules"),
    "duplicate keys": (
        one("badges: []\nbadges: []\n"),
        "a.yaml:2:1: error: badges stands here twice; it was given first in line 1",
    ),
    "4,000 duplicate keys": (
        one("factors: {" + "a: 1, " * 4_000 + "}"),
        "a.yaml:1:617: error: after 100 errors nothing further is checked",
    ),
    "4,000 unknown keys": (
        one("".join(f"prgram{number}: 1\n" for number in range(4_000))),
        "a.yaml:1:1: error: prgram0 is not known in a rule file; did you mean program?",
    ),
    "!!python/object": (
        one("badges: !!python/object/apply:os.system ['touch /tmp/owned']"),
        "a.yaml:1:9: error: tags (!!python/object/apply:os.system) are not allowed",
    ),
    "!!python/name": (
        one("badges: !!python/name:os.system ''"),
        "a.yaml:1:9: error: tags (!!python/name:os.system) are not allowed",
    ),
    "a tag of one's own": (
        one("badges: !<tag:example.com,2000:x> []"),
        "a.yaml:1:9: error: tags (tag:example.com,2000:x) are not allowed",
    ),
    "a tag that is declared": (
        one("%TAG ! tag:example.com,2000:\n---\nbadges: !x []"),
        "a.yaml:1:1: error: directives (%) are not allowed",
    ),
    "several documents": (
        one("badges: []\n---\nbadges: []\n"),
        "a.yaml:2:1: error: a file holds one document; nothing may follow ---",
    ),
    "10,000 documents": (
        one("--- {}\n" * 10_000),
        "a.yaml:2:1: error: a file holds one document; nothing may follow ---",
    ),
    "NUL": (
        one("badges: \0"),
        "a.yaml:1:9: error: character U+0000 is not allowed in a rule file",
    ),
    "NUL as an escape": (
        one('badges: "\\0"'),
        "a.yaml:1:9: error: a text cannot hold a NUL character",
    ),
    "a lone surrogate": (
        one("badges: \ud83d"),
        "a.yaml:1:9: error: character U+D83D is not allowed in a rule file",
    ),
    "a lone surrogate as an escape": (
        one('badges: "\\ud83d"'),
        "a.yaml:1:12: error: not valid YAML: found invalid Unicode character escape code",
    ),
    "characters that turn lines round": (
        one("badges: [] # \u202e\u2066"),
        "a.yaml:1:14: error: character U+202E is not allowed in a rule file",
    ),
    "a name that leads elsewhere": (
        lambda: {"../../etc/passwd": "badges: []"},
        "../../etc/passwd:1:1: error: a rule file is named like mobility.yaml",
    ),
    "a name of two lines": (
        lambda: {"a.yaml:1:1: warning: fine\nb.yaml": "badges: []"},
        "a.yaml:1:1: warning: fine\\nb.yaml:1:1: error: a rule file is named like mobility.yaml",
    ),
    "a name that is no Unicode": (
        lambda: {"\udcff.yaml": "badges: []"},
        "\\udcff.yaml:1:1: error: a rule file is named like mobility.yaml",
    ),
    "one name twice": (
        lambda: {"a/x.yaml": "badges: []", "b/x.yaml": PROGRAM},
        "b/x.yaml:1:1: error: two files of a rule set are named x.yaml; the other is a/x.yaml",
    ),
    "1,000 expressions of 2,000 characters": (
        many_expressions(1_000, lambda n: "min(steps, 2) * " * 120 + f"{n:06}"),
        "r01.yaml:31:34: error: the expressions of a rule set have at most 250,000 characters",
    ),
    "1,000 patterns of 1,000 parts": (
        lambda: {"a.yaml": PROGRAM, **many_patterns(1_000, "[a-z]{1,999}")},
        "t00.yaml:60:36: error: the patterns of a rule set have at most 50,000 parts together",
    ),
    "900 patterns of 1,000 parts in conditions": (
        many_expressions(900, lambda n: f'shoe.matches("a{{999}}") ? 1 : {n}'),
        "r00.yaml:52:33: error: the patterns of a rule set have at most 50,000 parts together",
    ),
    "1,300 small patterns": (
        lambda: {"a.yaml": PROGRAM, **many_patterns(1_300, "a")},
        "t20.yaml:276:38: error: the patterns of a rule set have at most 50,000 parts together",
    ),
    "700 sums of 61 terms": (
        lambda: {
            "a.yaml": PROGRAM + TYPE,
            "b.yaml": "rules:\n" + "".join(
                f"- {{id: r{n}, action: a.b, earns: {'1 + ' * 60}1}}\n" for n in range(700)
            ),
        },
        f"b.yaml:2:32: error: {DEEP}",
    ),
    "900 factors mistyped": (
        lambda: {
            "a.yaml": PROGRAM + TYPE + "factors:\n" + "".join(
                f"  car{n}: {{value: 1, unit: g/km, source: s, year: 2026}}\n" for n in range(900)
            ),
            "b.yaml": "rules:\n" + "".join(
                f"- {{id: r{n}, action: a.b, earns: factors.cra{n}}}\n" for n in range(900)
            ),
        },
        "b.yaml:2:40: error: there is no factor cra0; did you mean car0?",
    ),
}  # fmt: skip
LONG = "an expression has at most 2000 characters"
DIVISOR = "this divisor could be 0; build it by * and / from numbers other than 0 and attributes"
PLACE = "a.yaml:19:12: error: "
QUOTED = "a.yaml:19:13: error: "
EXPRESSIONS = {
    "10,000 parentheses": (earning("(" * 10_000 + "steps" + ")" * 10_000), PLACE + LONG),
    "990 parentheses": (earning("(" * 990 + "steps" + ")" * 990), PLACE + DEEP),
    "31 ternaries": (earning(f"'{'steps > 5 ? 1 : ' * 31}0'"), QUOTED + DEEP),
    "120 ternaries in each other": (
        earning("'" + "steps > 5 ? (" * 70 + "1" + ") : 0" * 70 + "'"), QUOTED + DEEP
    ),
    "400 terms": (earning("1" + " + 1" * 400), PLACE + DEEP),
    "180 lists in each other": (
        earning("steps in ["* 100 + "1" + "]" * 100), PLACE + DEEP
    ),
    "1,990 minus signs": (earning("-" * 1_990 + "steps"), None),
    "600 names": (
        earning(" + ".join(f"x{number}" for number in range(300))),
        PLACE + "x0 is not known here",
    ),
    "a list of 900": (when(f"steps in [{','.join(['1'] * 900)}]"), None),
    "a macro": (
        when("'[1, 2].all(x, [1, 2].all(y, [1, 2].all(z, x > y)))'"),
        "a.yaml:20:19: error: .all() is not allowed",
    ),
    "2,000 characters": (earning("steps" + " " * 1_990 + "* 1"), None),
    "2,001 characters": (earning("steps" + "  * 1" * 400), PLACE + LONG),
    "250,000 characters": (earning("1" + " + 1" * 60_000), PLACE + LONG),
    "1e999": (earning("steps * 1e999"), "a.yaml:19:20: error: this number is too large"),
    "400 digits": (
        earning("steps * 1" + "0" * 400), "a.yaml:19:20: error: this number is too large"
    ),
    "1,900 hex digits": (
        earning("steps * 0x" + "f" * 1_900), "a.yaml:19:20: error: 0xffff"
    ),
    "division by 0": (earning("5 / 0"), "a.yaml:19:16: error: " + DIVISOR),
    "division by nothing": (
        earning("5 / (steps - steps)"), "a.yaml:19:23: error: " + DIVISOR
    ),
    "division by what vanishes": (
        earning("5 / (1e-300 * 1e-300)"), "a.yaml:19:24: error: " + DIVISOR
    ),
    "division by an optional attribute": (
        earning("5 / distance_km"), PLACE.replace("12", "16") + "distance_km may be missing"
    ),
    "a remainder": (earning("steps % 0"), "a.yaml:19:18: error: % is not allowed"),
    "a comment": (earning("5 // steps"), "a.yaml:19:14: error: '//' would start a comment"),
    "NUL in an expression": (
        when('"shoe == \'a\\0b\'"'), "a.yaml:20:11: error: a text cannot hold a NUL character"
    ),
    "NUL as CEL's escape": (
        when("has(shoe) && shoe == 'a\\x00b'"),
        "a.yaml:20:32: error: a text cannot hold a NUL character",
    ),
    "a call of the machine": (
        earning("__import__('os').system('id')"),
        PLACE + "__import__() is not allowed",
    ),
    "an attribute of an attribute": (
        earning("steps.__class__.__mro__"),
        "a.yaml:19:18: error: .__class__: only factors have a name after a dot",
    ),
}  # fmt: skip
SIZE = "the pattern is not valid: with its repetitions it has "
AT = "a.yaml:16:37: error: "
PATTERNS = {
    "(a+)+$": (pattern("(a+)+$"), None),
    "(a|aa)+$": (pattern("(a|aa)+$"), None),
    "(.*a){25}": (pattern("(.*a){25}"), None),
    "(x+x+)+y": (pattern("(x+x+)+y"), None),
    "repetitions in each other": (pattern("(((a{1000}){1000}){1000})"), AT + SIZE),
    "many repetitions": (pattern("(a{1,1000})" * 45), AT + SIZE),
    "letters of all scripts": (pattern(r"[\pL\pN]{0,64}"), AT + SIZE),
    "a back reference": (pattern(r"(a)\1"), AT + "the pattern is not valid: invalid escape"),
    "a look behind": (pattern("(?<=a)b"), AT + "the pattern is not valid: invalid perl operator"),
    "500 brackets": (pattern("[" * 500), AT + "the pattern is not valid: missing ]"),
    "500 parentheses": (pattern("(" * 250 + ")" * 250), None),
    "501 characters": (pattern("a" * 501), AT + "pattern has at most 500 characters"),
    "what swallows its end": (pattern(r"\Qabc"), AT + "the pattern is not valid: missing )"),
    "matches: repetitions in each other": (
        when("has(shoe) && shoe.matches('((a{100}){100}){100}')"),
        "a.yaml:20:37: error: " + SIZE,
    ),
    "matches: many patterns": (
        when("has(shoe) && (" + " || ".join(["shoe.matches('.{900}')"] * 20) + ")"),
        "a.yaml:20:64: error: the patterns of an expression have at most 1,000 parts",
    ),
    "matches: (a+)+$": (when("has(shoe) && shoe.matches('(a+)+$')"), None),
    "matches: a pattern from outside": (
        when("has(shoe) && shoe.matches(shoe)"),
        "a.yaml:20:37: error: matches() takes a quoted pattern",
    ),
}
SETS = {**FILES, **EXPRESSIONS, **PATTERNS}
