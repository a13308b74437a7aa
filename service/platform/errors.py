"""What can go wrong, as named errors with facts, and the one form in which the world sees it.

An error carries a code, a sentence and facts. `problems.json` gives each code its status and title;
who answers makes `application/problem+json` (RFC 9457) of them, in the caller's language.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from string import Formatter
from typing import Annotated, Any, ClassVar, Literal, dataclass_transform
from uuid import UUID

import msgspec
from msgspec import Meta

PROBLEM_JSON = "application/problem+json"

# The status and title of each code.
PROBLEMS = msgspec.json.decode(
    Path(__file__).with_name("problems.json").read_bytes(), type=dict[str, tuple[int, str]]
)

Code = Annotated[str, Meta(extra_json_schema={"enum": [*PROBLEMS]})]
# Why an action is refused.
Reason = Literal[
    "implausible", "too-late", "in-future", "overlap", "reporter-not-allowed", "already-claimed"
]


class PlainError(Exception):
    """What whoever started a program can mend: its message says how, in plain lines."""


class FieldError(msgspec.Struct, frozen=True):
    """One fault of the input: an RFC 6901 pointer as a URI fragment, and what is allowed there."""

    pointer: str
    detail: str


@dataclass_transform(eq_default=False)
class SaxaulError(Exception):
    """Base of every error that a caller is told of. `code` names a row of PROBLEMS.

    What a class annotates are its facts: they are given when it is raised, and fill in its `text`.
    A class without a text is given one, with the facts that this one asks for. Facts that `members`
    names stand in the answer. Whoever answers says `text` in the reader's language; `detail` is
    English.
    """

    code: ClassVar[str] = "internal-error"
    text: ClassVar[str] = "{said}"
    members: ClassVar[tuple[str, ...]] = ()
    said: str = ""
    errors: tuple[FieldError, ...] = ()
    retry_after_s: int | None = None

    def __init_subclass__(cls) -> None:
        """Make facts of what is annotated."""
        if "__annotations__" in vars(cls):
            dataclass(eq=False, repr=False)(cls)

    def __init__(
        self, said: str | None = None, *, errors: tuple[FieldError, ...] = (), **facts: object
    ) -> None:
        """`said` is a sentence for whoever called, or the text of one when there are facts."""
        self.errors = errors
        vars(self).update(facts)
        if said is not None:
            vars(self)["text" if facts else "said"] = said

    @property
    def status(self) -> int:
        """The HTTP status of its code."""
        return PROBLEMS[self.code][0]

    @property
    def facts(self) -> dict[str, Any]:
        """What stands in the answer beside what every problem has."""
        return {name: getattr(self, name) for name in self.members if hasattr(self, name)}

    @property
    def told(self) -> dict[str, Any]:
        """The facts that its text asks for."""
        names = [re.split(r"[.[]", name)[0] for _, name, *_ in Formatter().parse(self.text) if name]
        return {name: getattr(self, name) for name in names}

    @property
    def detail(self) -> str:
        """Its sentence."""
        return self.text.format(**self.told)

    def __str__(self) -> str:
        """As a command tells it."""
        return self.detail

    def __repr__(self) -> str:
        """As a log tells it: facts may be of a person."""
        return f"{type(self).__name__}({self.detail!r})"


class ConflictError(SaxaulError):
    """The state does not allow it; nothing was changed."""

    code = "conflict"


class MalformedRequestError(SaxaulError):
    """The bytes are not what they should be."""

    code = "malformed-request"


class InvalidRequestError(SaxaulError):
    """Well-formed, but some field is wrong."""

    code = "invalid-request"


class UnauthenticatedError(SaxaulError):
    """No token, or one that does not hold. `challenge` is what WWW-Authenticate asks for."""

    code = "unauthenticated"
    challenge = "Bearer"


class ForbiddenError(SaxaulError):
    """A token that holds, of a role or scope that may not do this."""

    code = "forbidden"
    members = ("scope",)


class NotFoundError(SaxaulError):
    """Not there, or not the caller's."""

    code = "not-found"
    said = "There is nothing at this address."


class UnavailableError(SaxaulError):
    """A fault of ours or of what we stand on; sending the request again is safe."""

    code = "unavailable"
    retry_after_s = 1


class BookClosedError(UnavailableError):
    """The person was erased a moment ago; the next request makes a new participant."""

    text = "This participant was erased; send the request again to start anew."
    participant_id: UUID


class InsufficientEnergyError(ConflictError):
    """A book holds less than is asked of it."""

    code = "insufficient-energy"
    text = "{needed_g} g are needed, {available_g} g are available."
    members = ("needed_g", "available_g")
    needed_g: int
    available_g: int
