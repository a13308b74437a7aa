"""What can go wrong, as named errors with facts, and the one form in which the world sees it.

An error carries a code and a sentence. The table below gives each code its status and title; the
renderer makes `application/problem+json` (RFC 9457) of them.
"""

from collections.abc import Callable, Sequence
from typing import Annotated, Any, ClassVar, Literal
from uuid import uuid4

import msgspec
from msgspec import Meta

PROBLEM_JSON = "application/problem+json"

PROBLEMS: dict[str, tuple[int, str]] = {
    "malformed-request": (400, "The request cannot be parsed"),
    "idempotency-key-required": (400, "This request needs an Idempotency-Key"),
    "idempotency-key-malformed": (400, "The Idempotency-Key is malformed"),
    "signature-malformed": (400, "The headers of the signature are malformed"),
    "unauthenticated": (401, "Valid credentials are needed"),
    "forbidden": (403, "These credentials do not allow this"),
    "participant-suspended": (403, "This participant is suspended"),
    "not-found": (404, "There is nothing here"),
    "method-not-allowed": (405, "This method is not offered here"),
    "conflict": (409, "The state does not allow this"),
    "idempotency-in-progress": (409, "The first request with this key is still running"),
    "clock-moves-forward-only": (409, "The clock moves forward only"),
    "bubble-not-ripe": (409, "The bubble is not ripe yet"),
    "bubble-expired": (409, "The bubble has expired"),
    "bubble-empty": (409, "The bubble is empty"),
    "insufficient-energy": (409, "There is not enough energy"),
    "sold-out": (409, "The project has no trees left"),
    "season-closed": (409, "The planting season is closed"),
    "pledge-not-cancellable": (409, "The pledge can no longer be cancelled"),
    "already-reversed": (409, "The action is reversed already"),
    "project-capacity": (409, "The capacity is below what is promised"),
    "tree-status": (409, "A tree is not in the status that this step needs"),
    "rulebook-changed": (409, "The rules were changed in between"),
    "body-too-large": (413, "The body is too large"),
    "unsupported-media-type": (415, "The body must be JSON"),
    "invalid-request": (422, "The request is invalid"),
    "invalid-attributes": (422, "The attributes do not fit the action type"),
    "unknown-action-type": (422, "There is no such action type"),
    "action-refused": (422, "The action is refused"),
    "event-invalid": (422, "The event is not valid"),
    "event-id-reused": (422, "The event's id was used for another event"),
    "source-not-allowed": (422, "The source is not this partner's"),
    "event-type-not-granted": (422, "The event's type is not granted to this partner"),
    "rulebook-invalid": (422, "The rules have errors"),
    "idempotency-key-reused": (422, "The Idempotency-Key was used for another request"),
    "rate-limited": (429, "Too many requests"),
    "internal-error": (500, "The service failed"),
    "unavailable": (503, "The service is not available now"),
}

Code = Annotated[str, Meta(extra_json_schema={"enum": [*PROBLEMS]})]
# Why an action is refused.
Reason = Literal[
    "implausible", "too-late", "in-future", "overlap", "reporter-not-allowed", "already-claimed"
]


class FieldError(msgspec.Struct, frozen=True):
    """One fault of the input: an RFC 6901 pointer as a URI fragment, and what is allowed there."""

    pointer: str
    detail: str


class SaxaulError(Exception):
    """Base of every error that a caller is told of. `code` names a row of PROBLEMS."""

    code: ClassVar[str] = "internal-error"
    retry_after_s: int | None = None

    def __init__(
        self,
        detail: str,
        *,
        errors: tuple[FieldError, ...] = (),
        facts: dict[str, Any] | None = None,
    ) -> None:
        """`detail` is a sentence for whoever called; `facts` become members of the answer."""
        super().__init__(detail)
        self.detail = detail
        self.errors = errors
        self.facts = facts or {}

    @property
    def status(self) -> int:
        """The HTTP status of its code."""
        return PROBLEMS[self.code][0]


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
    challenge: ClassVar[str] = "Bearer"


class ForbiddenError(SaxaulError):
    """A token that holds, of a role or scope that may not do this."""

    code = "forbidden"


class NotFoundError(SaxaulError):
    """Not there, or not the caller's."""

    code = "not-found"

    def __init__(self, what: str = "There is nothing at this address.") -> None:
        """Say what was looked for, in a sentence."""
        super().__init__(what)


class UnavailableError(SaxaulError):
    """A fault of ours or of what we stand on; sending the request again is safe."""

    code = "unavailable"
    retry_after_s = 1


class InsufficientEnergyError(ConflictError):
    """A book holds less than is asked of it."""

    code = "insufficient-energy"

    def __init__(self, *, needed_g: int, available_g: int) -> None:
        """Both amounts in grams."""
        super().__init__(
            f"{needed_g} g are needed, {available_g} g are available.",
            facts={"needed_g": needed_g, "available_g": available_g},
        )


class ItemProblem(msgspec.Struct, frozen=True, omit_defaults=True):
    """Why one item of a list is refused: its problem document without what the list tells."""

    code: Code
    title: str
    detail: str
    reason: Reason | msgspec.UnsetType = msgspec.UNSET
    errors: Sequence[FieldError] | msgspec.UnsetType = msgspec.UNSET


def item_problem(error: SaxaulError, place: Callable[[str], str] = str) -> ItemProblem:
    """A refusal of an item; `place` makes its pointers count from the top of the body."""
    return ItemProblem(
        error.code,
        PROBLEMS[error.code][1],
        error.detail,
        error.facts.get("reason", msgspec.UNSET),
        [FieldError(place(f.pointer), f.detail) for f in error.errors] or msgspec.UNSET,
    )


def problem(error: SaxaulError, instance: str | None = None) -> dict[str, Any]:
    """The members of its problem document."""
    status, title = PROBLEMS[error.code]
    members: dict[str, Any] = {
        "type": f"urn:saxaul:problem:{error.code}",
        "title": title,
        "status": status,
        "detail": error.detail,
        "code": error.code,
        "instance": instance or f"urn:uuid:{uuid4()}",
        **error.facts,
    }
    if error.errors:
        members["errors"] = error.errors
    return members


def problem_body(error: SaxaulError, instance: str | None = None) -> bytes:
    """Its problem document as JSON."""
    return msgspec.json.encode(problem(error, instance))
