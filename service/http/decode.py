"""Bytes become values: bodies, queries and ids of a request, checked before use.

What passes here is well-formed JSON of the asked shape, holds no NUL, and has no time without an
offset; everything else becomes a problem that names the place and what is allowed there.
"""

import inspect
import re
from collections.abc import Callable, Iterator
from datetime import datetime
from functools import cache
from types import UnionType
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin, get_type_hints
from urllib.parse import parse_qsl
from uuid import UUID

import msgspec
from msgspec import Meta, Struct
from msgspec.structs import force_setattr

from service.http.faults import (
    TIME_RULE,
    escaped,
    fault,
    halves_as_nul,
    invalid,
    malformed,
    plain_json,
    refuse_nul,
    refuse_twice,
)
from service.http.shared import AnyRequest
from service.http.texts import TextError
from service.http.times import has_finer_times, kept_time, kept_times
from service.platform.errors import FieldError, MalformedRequestError, NotFoundError

S = TypeVar("S", bound=Struct)

# A time as people send it: RFC 3339 with an offset; `parse` also refuses years outside 2000..2199.
Time = Annotated[datetime, Meta(tz=True)]
_YEARS = range(2000, 2200)
UUID_TEXT = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_QUERY_FIELDS_MAX = 50


class NoFields(Struct, frozen=True, forbid_unknown_fields=True):
    """The body of a POST that says all by its address: nothing, or `{}`."""


async def read_body(request: AnyRequest, kind: type[S]) -> S:
    """The body as this struct. Raises the errors of `Request.body` and `parse`."""
    data = await request.body()
    return parse(data if data or _decoder(kind).has_fields else b"{}", kind)


def parse(data: bytes, kind: type[S], at: str = "#") -> S:
    """Decode JSON into a struct; `at` is the pointer of the place where the JSON stands.

    Raises MalformedRequestError for what is no JSON at all, InvalidRequestError with pointers
    for JSON of another shape. Decoding stops at the first fault.
    """
    decoder = _decoder(kind)
    value: S
    if decoder.times and has_finer_times(data):
        data = kept_times(data, decoder.times)
    try:
        if decoder.is_envelope:
            data = halves_as_nul(data)
        elif b"\\u0000" in data:
            refuse_nul(plain_json(data), at)
        value = decoder.decode(data)
        refuse_twice(data, at, deep=not decoder.is_envelope)
    except msgspec.ValidationError as error:
        if decoder.times and (kept := kept_times(data, decoder.times)) != data:
            return parse(kept, kind, at)
        # The decoder may stop at a wrong field before it meets what makes the bytes no JSON.
        raise invalid(str(error), kind, at, plain_json(data)) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise malformed(error) from error
    if decoder.check is not None and (wrong := next(decoder.check(value, at), None)):
        raise fault(wrong.pointer, wrong.detail)
    return value


def read_query(request: AnyRequest, kind: type[S]) -> S:
    """The query as this struct. Raises MalformedRequestError, InvalidRequestError."""
    text = request.scope["query_string"]
    try:
        pairs = parse_qsl(
            text.decode("ascii"),
            keep_blank_values=True,
            errors="strict",
            max_num_fields=_QUERY_FIELDS_MAX,
        )
    except ValueError as error:
        raise MalformedRequestError("The query is not properly encoded UTF-8.") from error
    fields: dict[str, str] = {}
    for name, value in pairs:
        if name in fields:
            raise fault(f"#/query/{escaped(name)}", "is given more than once")
        fields[name] = value
    refuse_nul(fields, "#/query")
    for name in _decoder(kind).times & fields.keys():
        fields[name] = kept_time(fields[name])
    try:
        query = msgspec.convert(fields, kind, strict=False)
    except msgspec.ValidationError as error:
        raise invalid(str(error), kind, "#/query", fields) from error
    check = _decoder(kind).check
    if check is not None and (wrong := next(check(query, "#/query"), None)):
        raise fault(wrong.pointer, wrong.detail)
    return query


def path_uuid(text: str) -> UUID:
    """An id of the path. Raises NotFoundError when it is none."""
    if UUID_TEXT.fullmatch(text) is None:
        raise NotFoundError
    return UUID(text)


Check = Callable[[Any, str], Iterator[FieldError]]
TextRule = Callable[[str], str]


class _Decoder:
    """A struct's JSON decoder with what msgspec does not check by itself."""

    def __init__(self, kind: type[Struct]) -> None:
        self.decode: Callable[[bytes], Any] = msgspec.json.Decoder(kind).decode
        self.has_fields = bool(kind.__struct_fields__)
        # Its items are decoded one by one, each with its own faults.
        self.is_envelope = any(_holds_raw(hint) for hint in get_type_hints(kind).values())
        self.check = _check_of(kind)
        self.times = frozenset(_times_of(kind))


_decoder = cache(_Decoder)


def _times_of(hint: Any) -> Iterator[str]:
    """The names of all members that are times, in a value of this type."""
    for inner in get_args(hint):
        yield from _times_of(inner)
    if isinstance(hint, type) and issubclass(hint, Struct):
        hints = get_type_hints(hint, include_extras=True)
        for member in msgspec.structs.fields(hint):
            if _check_of(hints[member.name]) is _check_time:
                yield member.encode_name
            yield from _times_of(hints[member.name])


def _holds_raw(hint: Any) -> bool:
    return hint is msgspec.Raw or any(_holds_raw(inner) for inner in get_args(hint))


def _check_of(hint: Any) -> Check | None:
    """What finds times outside the allowed years, and brings texts for others into their form."""
    origin = get_origin(hint)
    if origin is Annotated:
        return _check_of(get_args(hint)[0])
    if hint is datetime:
        return _check_time
    if isinstance(hint, type) and issubclass(hint, Struct):
        hints = get_type_hints(hint, include_extras=True)
        checks = [
            (field.name, field.encode_name, check, _text_rule(hints[field.name]))
            for field in msgspec.structs.fields(hint)
            if (check := _check_of(hints[field.name])) or _text_rule(hints[field.name])
        ]
        return _fields_check(checks) if checks else None
    inner = [check for argument in get_args(hint) if (check := _check_of(argument))]
    if not inner:
        return None
    if origin in {Union, UnionType}:
        return inner[0]
    return _items_check(inner[0])


def _check_time(value: Any, at: str) -> Iterator[FieldError]:
    if isinstance(value, datetime) and value.year not in _YEARS:
        yield FieldError(at, TIME_RULE)


def _text_rule(hint: Any) -> TextRule | None:
    """How this field's text is kept, if its type names a rule of `texts`."""
    for each in getattr(hint, "__metadata__", ()):
        if inspect.isfunction(each):
            return each
    return next(filter(None, map(_text_rule, get_args(hint))), None)


def _fields_check(checks: list[tuple[str, str, Check | None, TextRule | None]]) -> Check:
    def check(value: Any, at: str) -> Iterator[FieldError]:
        if isinstance(value, Struct):
            for name, encoded, inner, rule in checks:
                field = getattr(value, name)
                try:
                    if rule is not None and isinstance(field, str):
                        force_setattr(value, name, rule(field))
                except TextError as error:
                    yield FieldError(f"{at}/{encoded}", error.told)
                if inner is not None:
                    yield from inner(field, f"{at}/{encoded}")

    return check


def _items_check(inner: Check) -> Check:
    def check(value: Any, at: str) -> Iterator[FieldError]:
        entries = value.items() if isinstance(value, dict) else enumerate(value or ())
        for key, item in entries:
            yield from inner(item, f"{at}/{escaped(str(key))}")

    return check
