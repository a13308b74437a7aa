"""The JSON Schema of rule files, for editors: it completes every key and explains every value.

Keys, types and bounds come from the structs of `schema`, a word on each key and choice with its
examples from `keys.yaml`, and which keys go together from `together.yaml`.
"""

from typing import Any

import msgspec
from msgspec import Struct

from service.rules.language.data import data_of
from service.rules.language.schema import RuleFile

DRAFT = "https://json-schema.org/draft/2020-12/schema"
SCHEMA_ID = "https://saxaul.example/schemas/rules-v1.json"


class _Key(Struct, frozen=True):
    """What `keys.yaml` says of a key: `choices` in the order in which they should be offered."""

    says: str
    examples: list[Any] = []
    choices: dict[str | bool, str] = {}
    once: bool = False


def json_schema() -> dict[str, Any]:
    """The JSON Schema that makes an editor complete and explain every key."""
    schema = explained(RuleFile)
    for struct, together in data_of("together.yaml", dict[str, dict[str, Any]]).items():
        schema["$defs"][struct].update(together)
    return {"$schema": DRAFT, "$id": SCHEMA_ID, "title": "Saxaul rules, v1", **schema}


def explained(kind: Any) -> dict[str, Any]:
    """The JSON Schema of a struct and those below it, with a word on each key and choice."""
    keys = data_of("keys.yaml", dict[str, dict[str, _Key]])
    schema = msgspec.json.schema(kind)
    for struct, definition in schema["$defs"].items():
        properties = definition["properties"]
        for key, content in properties.items():
            properties[key] = _explained(content, keys[struct][key])
    return schema


def _explained(content: dict[str, Any], told: _Key) -> dict[str, Any]:
    default = content.get("default", "")
    if default is None:
        content = content["anyOf"][0]  # whoever gives nothing leaves the key out
    elif isinstance(default, dict):
        content["default"] = {key: value for key, value in default.items() if value is not None}
    content = {"description": told.says, **content}
    if told.examples:
        content["examples"] = told.examples
    if told.choices:
        holder = content.get("items", content)
        holder["enum"] = list(told.choices)
        holder["enumDescriptions"] = list(told.choices.values())
        # Beside each choice, for editors that show it there, and under the key.
        content["description"] += "".join(
            f"\n- {str(choice).lower() if choice is True else choice}: {text}"
            for choice, text in told.choices.items()
        )
    if told.once:
        content["uniqueItems"] = True
    return content
