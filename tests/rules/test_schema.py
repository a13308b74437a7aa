"""What editors are told: every key and choice is explained, and what is broken is marked."""

import json
from pathlib import Path

import jsonschema
import pytest

from service.rules.compile.draft import compile_rulebook
from service.rules.language.editor_schema import json_schema
from tests.rules.sets import SAMPLE, content_of, shipped

SCHEMA = json.loads(json.dumps(json_schema()))
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA, format_checker=jsonschema.FormatChecker())
BROKEN = Path(__file__).parent / "broken"
# What a schema cannot know: names, expressions, dates that exclude each other, other files.
SHAPES = [
    "attribute-constraints", "badges", "claim", "days", "example-shape", "factor-without-source",
    "limits", "missing-keys", "names", "program-durations", "program-ripens-both", "shapes",
    "too-many", "unknown-keys", "waits", "wrong-choices", "wrong-kinds",
    "overlap-without-lasts", "faulty-type-hides-nothing", "sections-of-other-kinds",
]  # fmt: skip


def properties_of(node, path="$"):
    """Every key that a schema describes, wherever it stands."""
    if isinstance(node, dict):
        for key, content in node.get("properties", {}).items():
            if isinstance(content, dict) and "/then" not in path and "/if" not in path:
                yield f"{path}.{key}", content
        for key, content in node.items():
            yield from properties_of(content, f"{path}/{key}")
    elif isinstance(node, list):
        for content in node:
            yield from properties_of(content, path)


def test_it_is_a_schema():
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


def test_every_key_is_explained_and_has_an_example():
    keys = dict(properties_of(SCHEMA))
    assert len(keys) > 80
    for path, content in keys.items():
        assert len(content.get("description", "")) > 5, path
        is_choice = "enum" in content or content.get("type") == "boolean"
        assert is_choice or content.get("examples"), path


def test_every_struct_is_explained():
    for name, definition in SCHEMA["$defs"].items():
        assert definition["description"], name
        assert definition["additionalProperties"] is False, name


def test_every_choice_is_explained():
    found = 0
    for path, content in properties_of(SCHEMA):
        holder = content.get("items", content)
        if isinstance(holder, dict) and "enum" in holder:
            found += 1
            assert len(holder["enumDescriptions"]) == len(holder["enum"]), path
            for choice, text in zip(holder["enum"], holder["enumDescriptions"], strict=True):
                shown = json.dumps(choice).strip('"')
                assert f"- {shown}: {text}" in content["description"], path
    assert found >= 10


def test_choices_are_those_of_the_checker():
    # An editor offers them in an order that makes sense; none may be lost on the way.
    for path, content in properties_of(SCHEMA):
        holder = content.get("items", content)
        for choice in holder.get("enum", ()) if isinstance(holder, dict) else ():
            assert VALIDATOR.evolve(schema=holder).is_valid(choice), path
    kinds = SCHEMA["$defs"]
    assert kinds["Limit"]["properties"]["per"]["enum"] == ["day", "week", "month", "year", "ever"]
    assert len(kinds["ActionType"]["properties"]["category"]["enum"]) == 7


def test_examples_are_good():
    """Each example is valid where it stands, apart from keys that it leaves out for brevity."""
    for path, content in properties_of(SCHEMA):
        for example in content.get("examples", ()):
            scoped = {**content, "$defs": SCHEMA["$defs"]}
            errors = VALIDATOR.evolve(schema=scoped).iter_errors(example)
            left = [error.message for error in errors if error.validator != "required"]
            deep = [message for message in left if "valid under" not in message]
            assert deep == [], path


@pytest.mark.parametrize("text", [SAMPLE, *shipped().values()], ids=["sample", *shipped()])
def test_good_files_fit(text):
    assert [error.message for error in VALIDATOR.iter_errors(content_of(text))] == []


def body_of(name):
    return (BROKEN / f"{name}.yaml").read_text().partition("\n# expect ")[0]


@pytest.mark.parametrize("name", SHAPES)
def test_broken_shapes_are_marked(name):
    assert not VALIDATOR.is_valid(content_of(body_of(name)))


@pytest.mark.parametrize("path", sorted(BROKEN.glob("*.yaml")), ids=lambda path: path.stem)
def test_what_an_editor_marks_the_checker_refuses(path):
    text = body_of(path.stem)
    draft = compile_rulebook({"a.yaml": text + "\n"})
    if not any(problem.path for problem in draft.problems):
        return  # it is no YAML at all
    try:
        is_valid = VALIDATOR.is_valid(content_of(text))
    except Exception:  # noqa: BLE001 - what PyYAML refuses need not be valid
        is_valid = False
    assert is_valid or draft.errors


@pytest.mark.parametrize(
    "content",
    [
        {"programm": {}},
        {"program": {"name": "x", "timezone": "Asia/Shanghai"}},
        {"rules": [{"id": "a"}]},
        {"rules": [{"id": "a", "action": "a.b", "limits": [{"per": "day"}]}]},
        {"rules": [{"id": "a", "action": "a.b",
                    "limits": [{"per": "day", "count": 1, "grams": 1}]}]},
        {"rules": [{"id": "a", "action": "a.b", "from": "next week"}]},
        {"badges": [{"id": "a", "title": "A", "needs": {"trees": 1, "streak_days": 1}}]},
        {"badges": [{"id": "a", "title": "A", "needs": {"action": "a.b"}}]},
        {"badges": [{"id": "a", "title": "A", "needs": {"trees": 1, "count": 1}}]},
        {"rules": [{"id": "a", "action": "a.b",
                    "examples": [{"expect": {"refused": "implausible", "earns": 0}}]}]},
        {"rules": [{"id": "a", "action": "a.b",
                    "examples": [{"expect": {"skipped": True, "saves": 0}}]}]},
        {"action_types": {"a.b": {"category": "home", "reported_by": ["device", "device"]}}},
        {"campaigns": [{"id": "a", "title": "A", "from": "2027-06-05", "until": "2027-06-06",
                        "earns_times": 2, "rules": ["b", "b"]}]},
        {"action_types": {"a.b": {"category": "home", "reported_by": ["device"],
                                  "overlap": "exclusive"}}},
        {"action_types": {"a.b": {"category": "home", "reported_by": ["device"],
                                  "attributes": {"x": {"type": "string", "minimum": 1}}}}},
    ],
)  # fmt: skip
def test_keys_that_do_not_go_together_are_marked_and_refused(content):
    assert not VALIDATOR.is_valid(content)
    assert compile_rulebook({"a.yaml": json.dumps(content)}).errors
