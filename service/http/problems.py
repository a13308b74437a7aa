"""What is told to whoever asked, in the language that they read: problems, and their reader."""

from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any
from uuid import uuid4

import msgspec

from service.http.shared import AnyRequest, headers_of
from service.platform.errors import PROBLEMS, Code, FieldError, Reason, SaxaulError
from service.rules.decide.languages import Reader, Words, preferred_languages


class ItemProblem(msgspec.Struct, frozen=True, omit_defaults=True):
    """Why one item of a list is refused: its problem document without what the list tells."""

    code: Code
    title: str
    detail: str
    reason: Reason | msgspec.UnsetType = msgspec.UNSET
    errors: Sequence[FieldError] | msgspec.UnsetType = msgspec.UNSET


@cache
def known_words() -> dict[str, Words]:
    """The languages besides English that this service speaks, by their tags."""
    files = Path(__file__).parent.glob("words.*.yaml")
    return {
        file.name.split(".")[1]: msgspec.yaml.decode(file.read_bytes(), type=Words)
        for file in files
    }


def languages_of(request: AnyRequest) -> tuple[str, ...]:
    """What the header Accept-Language asks for, the most wanted first."""
    return preferred_languages(",".join(headers_of(request, b"accept-language")))


def reader_of(request: AnyRequest) -> Reader:
    """Who reads the answer."""
    return Reader(languages_of(request), known_words())


def item_problem(
    error: SaxaulError, reader: Reader, place: Callable[[str], str] = str
) -> ItemProblem:
    """A refusal of an item; `place` makes its pointers count from the top of the body."""
    return ItemProblem(
        error.code,
        reader.tell(PROBLEMS[error.code][1]),
        reader.tell(error.text, **error.told),
        error.facts.get("reason", msgspec.UNSET),
        [FieldError(place(f.pointer), reader.tell(f.detail)) for f in error.errors]
        or msgspec.UNSET,
    )


def problem_body(error: SaxaulError, reader: Reader, instance: str | None = None) -> bytes:
    """Its problem document as JSON."""
    told = item_problem(error, reader)
    members: dict[str, Any] = {
        "type": f"urn:saxaul:problem:{error.code}",
        "title": told.title,
        "status": error.status,
        "detail": told.detail,
        "code": error.code,
        "instance": instance or f"urn:uuid:{uuid4()}",
        **error.facts,
    }
    if error.errors:
        members["errors"] = told.errors
    return msgspec.json.encode(members)
