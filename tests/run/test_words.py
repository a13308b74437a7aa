"""Whatever the program says to people stands in every language that it speaks."""

import ast
import importlib
import pickle
import pkgutil
import re
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Annotated
from uuid import UUID

import msgspec
import pytest
from msgspec import Meta

import service
from service.http.problems import known_words
from service.platform.errors import PROBLEMS, SaxaulError
from service.rules.decide.attributes import (
    boolean_check,
    choice_check,
    integer_check,
    number_check,
    text_check,
)
from service.rules.decide.judge import duration_text
from service.rules.decide.languages import Reader
from service.rules.decide.rulebook import PERIODS
from service.rules.told import Told
from tests.rules.sets import shipped_rulebook

ROOT = Path(__file__).parent.parent.parent
# Commands and the checker of rules speak English to whoever types them.
FILES = [
    path
    for path in sorted((ROOT / "service").rglob("*.py"))
    if "partner_kit" not in path.parts and not path.name.startswith("commands")
]
# At which place a call takes a sentence, or the template of one.
SAYS = {
    "Told": 0,
    "tell": 0,
    "fault": 1,
    "_invalid": 1,
    "_reversal_invalid": 1,
    "FieldError": 1,
    "TextError": 0,
}
SAYS |= {"PeriodError": 1, "KeyTextError": 0, "TextError": 0}
PERIODS_SAID = {"day": "每日", "week": "每周", "month": "每月", "year": "每年", "ever": "累计"}


@pytest.fixture(params=known_words())
def words(request):
    """What is said in one of the languages."""
    return known_words()[request.param]


@pytest.fixture
def chinese():
    return Reader(("zh",), known_words())


@cache
def errors():
    for module in pkgutil.walk_packages(service.__path__, "service."):
        if module.name != "service.__main__":
            importlib.import_module(module.name)

    def below(kind):
        yield kind
        for child in kind.__subclasses__():
            yield from below(child)

    return {kind.__name__: kind for kind in below(SaxaulError)}


def alternatives(node, scopes):
    """What an expression may be: literal texts, or the part of it that is none.

    A name is what was assigned to it last before, in its function or else in its module.
    """
    if isinstance(node, ast.IfExp):
        return [*alternatives(node.body, scopes), *alternatives(node.orelse, scopes)]
    if isinstance(node, ast.Constant):
        return [node.value]
    if not isinstance(node, ast.Name):
        return [node]
    for scope in scopes:
        before = [(at, value) for at, value in scope.get(node.id, ()) if at < node.lineno]
        if before:
            return [text for _, value in before[-1:] for text in alternatives(value, scopes)]
    return []


def named(scope):
    """By name, what is assigned to it in this module or function, and on which line."""
    found = {}
    for node in ast.walk(scope):
        for target in node.targets if isinstance(node, ast.Assign) else ():
            pairs = [(target, node.value)]
            if isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
                pairs = zip(target.elts, node.value.elts, strict=True)
            for name, value in pairs:
                if isinstance(name, ast.Name):
                    found.setdefault(name.id, []).append((node.lineno, value))
    return {name: sorted(values, key=lambda entry: entry[0]) for name, values in found.items()}


def sentences_in(tree):
    """Each call that takes a sentence, with what it may be given."""
    constants = {name: texts for name, texts in named(tree).items() if name.isupper()}
    for scope in ast.walk(tree):
        if not isinstance(scope, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        scopes = (named(scope), constants)
        for node in ast.walk(scope):
            if isinstance(node, ast.Call):
                called = getattr(node.func, "id", None) or getattr(node.func, "attr", "")
                if called == "fault" and isinstance(node.func, ast.Attribute):
                    continue  # of a rule file
                at = SAYS.get(called, 0 if called in errors() else None)
                if at is not None and len(node.args) > at:
                    for said in alternatives(node.args[at], scopes):
                        yield node, said


@cache
def sentences():
    """Every sentence of ours by the place where it is said; parts of syntax where it is none."""
    found = []
    for path in FILES:
        for node, said in sentences_in(ast.parse(path.read_text(encoding="utf-8"))):
            found.append((f"{path.relative_to(ROOT)}:{node.lineno}", said))
    for name, kind in errors().items():
        found += [(name, kind.text), (name, kind.said)]
    return found + [(code, title) for code, (_, title) in PROBLEMS.items()]


@cache
def literals():
    """Every literal text of the code."""
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in FILES]
    nodes = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Constant)]
    return {node.value for node in nodes if isinstance(node.value, str)} | {
        title for _, title in PROBLEMS.values()
    }


def facts_of(template):
    return set(re.findall(r"\{(\w[^{}:]*)((?::[^{}]*)?)\}", template))


def test_every_sentence_is_in_every_language(words):
    missing = {
        text: place
        for place, text in sentences()
        if isinstance(text, str) and text not in {"", "{said}"} and text not in words["texts"]
    }
    assert missing == {}


def test_sentences_are_templates_and_not_put_together():
    # What is filled in already cannot be said in another language.
    filled_in = [
        place
        for place, said in sentences()
        if isinstance(said, ast.JoinedStr | ast.BinOp)
        # What the library says comes filled in; scenarios speak to operators.
        and not place.startswith(("service/http/faults.py", "service/rules/trial/scenarios.py"))
    ]
    assert filled_in == []


def test_sentences_get_the_facts_that_they_ask_for():
    """Of what is given a template where it is said; mypy looks at errors that have one."""
    wrong = []
    for path in FILES:
        for node, said in sentences_in(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(said, str) and len(node.args) <= 1:
                given = {keyword.arg for keyword in node.keywords}
                asked = {re.split(r"[.[]", name)[0] for name, _ in facts_of(said)}
                if not asked <= given:
                    wrong.append(f"{path.relative_to(ROOT)}:{node.lineno} {asked - given}")
    assert wrong == []


def test_no_sentence_is_translated_in_vain(words):
    assert set(words["texts"]) - literals() == set()


def test_translations_hold_the_same_facts(words):
    for text, said in {**words["texts"], **words["forms"]}.items():
        assert facts_of(said) == facts_of(text), text


def test_every_unit_of_the_shipped_rules_is_translated(words):
    rulebook = shipped_rulebook()
    units = {factor.unit for factor in rulebook.factors.values()}
    for action_type in rulebook.action_types.values():
        units |= {a.unit for a in action_type.attributes.values() if a.unit}
    assert {"g", "steps", *units} - set(words["units"]) == set()


@pytest.mark.parametrize(
    ("kind", "sent", "said"),
    [
        (int, b'"x"', "应为 `int`，而不是 `str`"),
        (int | None, b'""', "应为 `int | null`，而不是 `str`"),
        (Annotated[int, Meta(ge=1)], b"0", "应为 >= 1 的 `int`"),
        (Annotated[str, Meta(min_length=1)], b'""', "应为长度 >= 1 的 `str`"),
        (Annotated[str, Meta(pattern="^[0-9]$")], b'"a"', "应为符合正则表达式 '^[0-9]$' 的 `str`"),
        (Annotated[list[int], Meta(max_length=2)], b"[1, 2, 3]", "应为长度 <= 2 的 `array`"),
        (Annotated[dict[str, int], Meta(min_length=1)], b"{}", "应为长度 >= 1 的 `object`"),
        (UUID, b'"x"', "不是有效的 UUID"),
        (float, b"1e999", "数值超出范围"),
        (dict, b'{"a": ', "内容不完整"),
        (int, b"truu", "无效字符（字节 4）"),
        (int, b"1 2", "末尾有多余的字符（字节 3）"),
        (int, b"01", "无效数字（字节 1）"),
        (dict, b'{"a" 1}', "应为 “:”（字节 5）"),
        (dict, b'{"a": 1 2}', "应为 “,” 或 “}”（字节 8）"),
        (list, b"[1 2]", "应为 “,” 或 “]”（字节 3）"),
        (list, b"[1,]", "数组末尾有多余的逗号（字节 3）"),
        (dict, b'{"a": 1,}', "对象末尾有多余的逗号（字节 8）"),
        (dict, b"{1: 2}", "对象的键必须是字符串（字节 1）"),
        (str, rb'"\x"', "字符串中有无效的转义字符（字节 3）"),
        (str, rb'"\ud800\u0041"', "无效的 UTF-16 代理对（字节 13）"),
    ],
)
def test_what_the_library_says_of_json_is_translated(chinese, kind, sent, said):
    with pytest.raises(msgspec.DecodeError) as caught:
        msgspec.json.decode(sent, type=kind)
    sentence = str(caught.value).removeprefix("JSON is malformed: ")
    if isinstance(caught.value, msgspec.ValidationError):
        sentence = sentence[0].lower() + sentence[1:]
    assert chinese.tell(sentence) == said


@pytest.mark.parametrize(
    ("check", "value", "said"),
    [
        (number_check(0.5, 100), "x", "必须是 0.5 到 100 的数"),
        (integer_check(1, 100_000), 0, "必须是 1 到 100000 的整数"),
        (boolean_check, 1, "必须是 true 或 false"),
        (choice_check(("gas", "water")), 5, "必须是以下之一：gas, water"),
        (choice_check(("gas", "water")), "gass", "必须是以下之一：gas, water（是否想用 gas？）"),
        (text_check(3, None), 1, "必须是文本"),
        (text_check(3, None), "", "不能为空"),
        (text_check(3, None), "abcd", "最多 3 个字符"),
        (text_check(3, None), "a\0", "不得包含 NUL 字符"),
        (text_check(3, None), "\ud800", "必须是有效的 Unicode"),
        (text_check(3, "[0-9]+"), "a", "必须符合模式 [0-9]+"),
    ],
)
def test_what_an_attribute_must_be_is_told_in_every_language(chinese, check, value, said):
    assert chinese.tell(check(value)) == said


@pytest.mark.parametrize(
    ("english", "said"),
    [
        (duration_text(timedelta(days=7)), "7 天"),
        (duration_text(timedelta(days=1)), "1 天"),
        (duration_text(timedelta(days=2, hours=3)), "2 天 3 小时"),
        (duration_text(timedelta(hours=1, minutes=30)), "1 小时 30 分钟"),
        (duration_text(timedelta(minutes=5)), "5 分钟"),
        (duration_text(timedelta(seconds=20)), "20 秒"),
        *[(f"296 g per {period}", f"{PERIODS_SAID[period]}最多 296 克") for period in PERIODS],
        ("5 per month", "每月最多 5 次"),
        ("device or partner", "设备或合作方"),
    ],
)
def test_what_comes_filled_in_is_translated_by_its_form(chinese, english, said):
    assert chinese.tell(english) == said


def test_facts_are_shown_as_they_were_sent(chinese):
    text = Told("{at} is not an attribute here{hint}", at="'{x} %s \\'", hint="; none are allowed")
    assert text == "'{x} %s \\' is not an attribute here; none are allowed"
    assert chinese.tell(text) == "'{x} %s \\' 不是此处的属性；此处不接受任何属性"
    assert chinese.tell("{nothing} {0}") == "{nothing} {0}"
    assert pickle.loads(pickle.dumps(text)).facts == text.facts


@pytest.mark.parametrize(
    ("wanted", "came"),
    [
        ((), "en"),
        (("fr",), "en"),
        (("zh-Hans-CN", "en"), "zh"),
        (("fr", "zh"), "zh"),
        (("en-GB", "zh"), "en"),
        (("ZH",), "zh"),
    ],
)
def test_our_own_words_are_in_the_first_language_that_we_speak(wanted, came):
    reader = Reader(wanted, known_words())
    assert reader.headers() == [(b"vary", b"Accept-Language")]
    reader.tell("is required")
    assert reader.headers()[0] == (b"content-language", came.encode())
