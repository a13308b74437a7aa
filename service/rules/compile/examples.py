"""Examples in rules: what can be said of them before they are run."""

from __future__ import annotations

import datetime as dt
import re

from service.rules.cel.text import did_you_mean
from service.rules.compile.types import TypeDraft
from service.rules.language import schema
from service.rules.language.problems import Step
from service.rules.language.shape import Source, whole

_ALONE = ("refused", "skipped")


def check_examples(
    source: Source, path: tuple[Step, ...], rule: schema.Rule, kind: TypeDraft | None
) -> None:
    """Check what a rule's examples give and expect; `path` is the rule's."""
    for index, example in whole(rule.examples):
        at = (*path, "examples", index)
        _check_time(source, at, example)
        _check_region(source, at, example)
        _check_expected(source, at)
        if kind is None or example.expect.refused is not None:
            continue
        names = kind.given_names()
        for name in example.given:
            if name not in names:
                hint = did_you_mean(name, names) or _listed(names)
                message = f"{name} is not an attribute of {kind.name}{hint}"
                source.fault((*at, "given", name), message, at_key=True)


def _listed(names: frozenset[str]) -> str:
    return f"; it has {', '.join(sorted(names))}" if names else "; it has none"


def _check_time(source: Source, path: tuple[Step, ...], example: schema.Example) -> None:
    text = example.context.occurred_at
    if text is None:
        return
    try:
        dt.datetime.fromisoformat(text)
    except ValueError as error:
        at = (*path, "context", "occurred_at")
        source.fault(at, f"there is no such time: {error}")


def _check_region(source: Source, path: tuple[Step, ...], example: schema.Example) -> None:
    """An example pays nobody, so what no person can be is told and refuses nothing."""
    region = example.context.region
    if region and not re.fullmatch(schema.REGION, region):
        told = "nobody is of this region: a person's is an ISO 3166 code like CN-ZJ"
        source.warn((*path, "context", "region"), told)


def _check_expected(source: Source, path: tuple[Step, ...]) -> None:
    """An example that expects nothing proves nothing; one that is refused earns nothing."""
    given = source.root.find((*path, "expect")).entries
    if not given:
        message = "this expects nothing; allowed are saves, earns, limited_by, refused, skipped"
        source.warn((*path, "expect"), message)
    for key in _ALONE:
        if key in given and given.keys() & set(schema.Expect.__struct_fields__) != {key}:
            message = f"{key} stands alone: such an action saves and earns nothing"
            source.fault((*path, "expect", key), message, at_key=True)
            return
