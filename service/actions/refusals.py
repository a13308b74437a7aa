"""Why an action is refused, as errors with facts. A refused action keeps no key and no claim."""

from datetime import datetime
from typing import ClassVar

from service.errors import FieldError, SaxaulError
from service.rules.judge import Refusal


class ActionRefusedError(SaxaulError):
    """The catalogue refuses this action; `reason` says why in one word."""

    code = "action-refused"
    reason: ClassVar[str]

    def __init__(self, detail: str) -> None:
        """`detail` is a sentence with the numbers."""
        super().__init__(detail, facts={"reason": self.reason})


class OverlapError(ActionRefusedError):
    """It meets another exclusive action of the same person."""

    reason = "overlap"

    def __init__(self, starts_at: datetime, ends_at: datetime) -> None:
        """Say which minutes are taken."""
        super().__init__(
            f"You have another trip from {starts_at:%Y-%m-%dT%H:%M:%SZ}"
            f" to {ends_at:%Y-%m-%dT%H:%M:%SZ}; one person makes one trip at a time."
        )


class AlreadyClaimedError(ActionRefusedError):
    """What is paid once was paid before: says when, not by whom."""

    reason = "already-claimed"

    def __init__(self, bound_at: datetime) -> None:
        """Say when."""
        super().__init__(f"This was counted at {bound_at:%Y-%m-%dT%H:%M:%SZ} already.")


class UnknownActionTypeError(SaxaulError):
    """The active rulebook has no such type."""

    code = "unknown-action-type"


class InvalidAttributesError(SaxaulError):
    """The attributes do not fit the action type."""

    code = "invalid-attributes"


class _JudgedRefusalError(ActionRefusedError):
    reason = ""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.detail)
        self.facts = {"reason": refusal.reason}


def refusal_error(refusal: Refusal) -> SaxaulError:
    """The error of a refusal that the rules gave."""
    errors = tuple(FieldError("#" + pointer, detail) for pointer, detail in refusal.errors)
    if refusal.code == UnknownActionTypeError.code:
        return UnknownActionTypeError(
            refusal.detail, errors=(FieldError("#/type", refusal.detail),)
        )
    if refusal.code == InvalidAttributesError.code:
        return InvalidAttributesError(refusal.detail, errors=errors)
    return _JudgedRefusalError(refusal)
