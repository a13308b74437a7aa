"""Examples in rules: what can be said of them before they are run."""

import re

from service.rules.cel.text import did_you_mean
from service.rules.compile.texts import instant_of
from service.rules.compile.types import TypeDraft
from service.rules.language import schema
from service.rules.language.shape import Source, whole


def check_examples(source: Source, rule: schema.Rule, kind: TypeDraft | None) -> None:
    """Check what a rule's examples give and expect; `source` is the rule."""
    for index, example in whole(rule.examples):
        at = source.at("examples", index)
        _check_context(at.at("context"), example.context)
        _check_expected(at.at("expect"))
        if kind is None or example.expect.refused is not None:
            continue
        names = kind.given_names()
        for name in example.given:
            if name not in names:
                hint = did_you_mean(name, names) or f"; it has {', '.join(sorted(names)) or 'none'}"
                message = f"{name} is not an attribute of {kind.name}{hint}"
                at.at("given", name).fault(message, at_key=True)


def _check_context(source: Source, context: schema.ExampleContext) -> None:
    """An example pays nobody, so a region that no person can be of is told and refuses nothing."""
    try:
        instant_of(context.occurred_at or "1970-01-01")
    except ValueError as error:
        source.at("occurred_at").fault(f"there is no such time: {error}")
    if context.region and not re.fullmatch(schema.REGION, context.region):
        told = "nobody is of this region: a person's is an ISO 3166 code like CN-ZJ"
        source.at("region").warn(told)


def _check_expected(source: Source) -> None:
    """An example that expects nothing proves nothing; one that is refused earns nothing."""
    given = source.node.entries
    if not given:
        source.warn("this expects nothing; allowed are saves, earns, limited_by, refused, skipped")
    for key in ("refused", "skipped"):
        if key in given and given.keys() & set(schema.Expect.__struct_fields__) != {key}:
            message = f"{key} stands alone: such an action saves and earns nothing"
            source.at(key).fault(message, at_key=True)
            return
