"""What is wrong with a body or a query, said for whoever wrote it: where, and what is allowed."""

import json
import math
import re
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from functools import reduce
from itertools import chain
from types import UnionType
from typing import Annotated, Any, Literal, NoReturn, Union, get_args, get_origin
from urllib.parse import quote

import msgspec
from msgspec import Struct

from service.platform.errors import (
    FieldError,
    InvalidRequestError,
    MalformedRequestError,
    SaxaulError,
)
from service.rules.told import Told

TIME_RULE = "must be a time between 2000 and 2199, with an offset, such as 2026-11-21T08:00:00Z"

# How many entries are tried to find the one that msgspec only calls `[...]`.
_LOCATED_MAX = 200
# Longer whole numbers than any field can hold; Python refuses to read them at 4,300 digits.
_DIGITS_MAX = 300

# Pairs of surrogates and other escapes are passed over, so that what is found stands alone.
_HALVES = re.compile(
    rb"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"
    rb"|(?P<half>\\u[dD][89a-fA-F][0-9a-fA-F]{2})|\\."
)

_DEPTH_MAX = 32
_ESCAPE = re.compile(rb"\\.", re.DOTALL)
_TEXT = re.compile(rb'"[^"]*"')
_ONE_KIND = bytes.maketrans(b"{}", b"[]")
_NO_BRACKETS = bytes(set(range(256)) - set(b'[]{}"'))

_STEP = re.compile(r"\.([^.\[\]]+)|\[(\d+|\.\.\.)\]")
_UNKNOWN = re.compile(r"Object contains unknown field `(.*)`$", re.DOTALL)
_MISSING = re.compile(r"Object missing required field `(.*)`$")

Steps = list[tuple[str, str]]


def fault(
    pointer: str,
    text: str,
    at: str | None = None,
    kind: type[SaxaulError] = InvalidRequestError,
    **facts: object,
) -> SaxaulError:
    """One fault as an error to raise; `at` names the place where the pointer would not do."""
    detail = Told(text, **facts) if facts else text
    at = at or pointer.removeprefix("#") or "The request"
    return kind("{at} {fault}.", at=at, fault=detail, errors=(FieldError(pointer, detail),))


def escaped(name: str) -> str:
    """A name as one step of an RFC 6901 pointer in a URI's fragment."""
    return quote(name.replace("~", "~0").replace("/", "~1"), safe="~!$&'()*+,;=:@?")


def malformed(error: Exception) -> MalformedRequestError:
    """Why bytes are no JSON."""
    if isinstance(error, UnicodeDecodeError):
        return MalformedRequestError("The body is not valid UTF-8.")
    if isinstance(error, RecursionError):
        return MalformedRequestError("The body is nested too deeply.")
    reason = str(error).removeprefix("JSON is malformed: ")
    return MalformedRequestError("The body is not JSON: {reason}.", reason=reason)


def plain_json(data: bytes) -> Any:
    """JSON without a shape; numbers out of range become infinite. Raises MalformedRequestError."""
    try:
        return msgspec.json.decode(data)
    except msgspec.ValidationError:
        pass
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise malformed(error) from error
    try:
        return json.loads(data.decode(), parse_int=_whole, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise malformed(error) from error


def halves_as_nul(data: bytes) -> bytes:
    """The JSON with a NUL for each half of a pair of surrogates.

    No reader takes such a half, so that one would spoil a whole list; a NUL spoils its item only.
    """
    if b"\\ud" not in data and b"\\uD" not in data:
        return data
    return _HALVES.sub(lambda found: b"\\u0000" if found["half"] else found[0], data)


def refuse_deep(data: bytes) -> None:
    """Raise MalformedRequestError when this well-formed JSON nests more than 32 deep."""
    if b"\\" in data:
        data = _ESCAPE.sub(b"", data)
    brackets = _TEXT.sub(b"", data.translate(_ONE_KIND, _NO_BRACKETS).replace(b'""', b""))
    for _ in range(_DEPTH_MAX):
        brackets = brackets.replace(b"[]", b"")  # the innermost level of each place
    if brackets:
        raise MalformedRequestError("The body is nested more than {most} deep.", most=_DEPTH_MAX)


def _whole(digits: str) -> int | float:
    return int(digits) if len(digits) < _DIGITS_MAX else math.inf


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


class _TwiceError(Exception):
    """An object names a member twice."""


def _once(pairs: list[tuple[str, Any]]) -> None:
    if len(dict(pairs)) != len(pairs):
        raise _TwiceError


class _Pairs(list[tuple[str, Any]]):
    """An object as it stands, with what a dict would lose."""


_NAME_ENDS, _BLANK = b'":', b" \t\r\n"
# A quote or a colon within a text, which is then not told from the end of a name.
_HIDING = re.compile(rb'\\(?:"|u00(?:22|3[aA]))')
# Whole numbers may be longer than int() reads.
_read_once = json.JSONDecoder(object_pairs_hook=_once, parse_int=float).decode
_read_pairs = json.JSONDecoder(object_pairs_hook=_Pairs, parse_int=float).decode


def has_names_twice(data: bytes) -> bool:
    """Whether an object of this well-formed JSON names a member twice: readers then differ.

    Written again by what keeps one of each name, it has as many names as before: with no quote in a
    text that is the whole answer, and takes a fifth of the time.
    """
    try:
        if _HIDING.search(data) is None:
            names = data.translate(None, _BLANK).count(_NAME_ENDS)
            if names == msgspec.json.encode(msgspec.json.decode(data)).count(_NAME_ENDS):
                return False
    except (msgspec.DecodeError, RecursionError):
        pass  # What the quick reader does not take is looked through as the rest is.
    try:
        _read_once(data.decode())
    except _TwiceError:
        return True
    return False


def refuse_twice(data: bytes, at: str, *, deep: bool = True) -> None:
    """Raise InvalidRequestError for a member that well-formed JSON names twice (RFC 7493, 2.3).

    Not `deep`: what lies in the outermost object is looked at elsewhere.
    """
    if has_names_twice(data):
        for pointer in _twice(_read_pairs(data.decode()), at, deep=deep):
            raise fault(pointer, "is given more than once")


def _twice(value: Any, at: str, *, deep: bool) -> Iterator[str]:
    seen = set()
    is_object = isinstance(value, _Pairs)
    for name, item in value if is_object else enumerate(value):
        where = f"{at}/{escaped(str(name))}"
        if name in seen:
            yield where
        seen.add(name)
        if deep and isinstance(item, list):
            yield from _twice(item, where, deep=True)


def refuse_nul(value: Any, at: str) -> None:
    """Raise InvalidRequestError when a string holds a NUL, which PostgreSQL cannot store."""
    for pointer, leaf in _leaves(value, at):
        if isinstance(leaf, str) and "\0" in leaf:
            raise fault(pointer, "must not hold a NUL character")


def _leaves(value: Any, at: str) -> Iterator[tuple[str, Any]]:
    """Everything that is no container, with its pointer; the keys of objects, too."""
    if isinstance(value, dict):
        for key, item in value.items():
            where = f"{at}/{escaped(key)}"
            yield where, key
            yield from _leaves(item, where)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _leaves(item, f"{at}/{index}")
    else:
        yield at, value


def invalid(message: str, kind: type[Struct], at: str, plain: Any) -> SaxaulError:
    """A message of msgspec as a fault: its path as a pointer, its sentence with what is allowed.

    `plain` is what was decoded, without a shape.
    """
    if "out of range" in message:
        for pointer, leaf in _leaves(plain, at):
            if isinstance(leaf, float) and math.isinf(leaf):
                return fault(pointer, "is a number out of range")
    sentence, _, path = message.partition(" - at `")
    steps: Steps = _STEP.findall(path.rstrip("`"))
    names = [name or index for name, index in steps]
    if "..." in names:
        names = _located(names, message, kind, plain)
    pointer = at + "".join(f"/{escaped(name)}" for name in names)
    kinds = _kinds_at(kind, steps)
    if found := _UNKNOWN.match(sentence):
        item = _object_at(plain, names)
        return fault(f"{pointer}/{escaped(found[1])}", _unknown_field(found[1], kinds, item))
    if found := _MISSING.match(sentence):
        return fault(f"{pointer}/{escaped(found[1])}", "is required")
    if sentence.endswith("encoded date"):
        return fault(pointer, "must be a date, such as 2026-11-21")
    if "timezone" in sentence or "RFC3339" in sentence or "`datetime" in sentence:
        return fault(pointer, TIME_RULE)
    if sentence.startswith("Invalid enum value"):
        choices = [get_args(hint) for hint in kinds if get_origin(hint) is Literal]
        allowed = ", ".join(map(str, chain(*choices)))
        return fault(pointer, "must be one of {allowed}", allowed=allowed)
    return fault(pointer, sentence[0].lower() + sentence[1:])


def _object_at(plain: Any, names: list[str]) -> dict[Any, Any]:
    """The object at this path; an empty one where a name that stands twice hides it."""
    try:
        found = reduce(lambda at, by: at[int(by)] if isinstance(at, list) else at[by], names, plain)
    except (LookupError, TypeError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _unknown_field(name: str, kinds: list[Any], item: Mapping[str | None, Any]) -> str:
    structs = {hint: hint.__struct_config__ for hint in kinds if isinstance(hint, type(Struct))}
    said = [hint for hint, way in structs.items() if item.get(way.tag_field) == way.tag]
    names = [(structs[hint].tag_field, *hint.__struct_encode_fields__) for hint in said or structs]
    allowed = list(dict.fromkeys(filter(None, chain(*names))))
    close = get_close_matches(name, allowed, n=1)
    hint = f"; did you mean {close[0]}?" if close else ""
    if not allowed:
        return "is not a field: none is allowed here"
    template = "is not a field: allowed are {allowed}{hint}"
    return Told(template, allowed=", ".join(allowed), hint=hint)


def _located(names: list[str], message: str, kind: type[Struct], plain: Any) -> list[str]:
    """The path with the key that msgspec means by `[...]`; it ends at the object if none is found.

    It is the entry that brings the same message when it stands alone.
    """
    known = names[: names.index("...")]
    place = _object_at(plain, known)
    entries = dict(place)
    for key, item in list(entries.items())[:_LOCATED_MAX]:
        place.clear()
        place[key] = item
        try:
            msgspec.convert(plain, kind)
        except msgspec.ValidationError as error:
            if str(error) == message:
                return [*known, key, *names[len(known) + 1 :]]
    return known


def _kinds_at(kind: Any, steps: Steps) -> list[Any]:
    """The types that are allowed at this path, unions taken apart."""
    for name, _ in steps:
        found: list[Any] = []
        for hint in _alternatives(kind):
            if name and isinstance(hint, type(Struct)):
                found += [f.type for f in msgspec.structs.fields(hint) if f.encode_name == name]
            elif not name and get_args(hint):
                found.append(get_args(hint)[-1])
        if not found:
            return []
        kind = Union[tuple(found)]  # noqa: UP007 - made at run time
    return list(_alternatives(kind))


def _alternatives(hint: Any) -> Iterator[Any]:
    origin = get_origin(hint)
    if origin is Annotated:
        yield from _alternatives(get_args(hint)[0])
    elif origin in {Union, UnionType}:
        for argument in get_args(hint):
            yield from _alternatives(argument)
    else:
        yield hint
