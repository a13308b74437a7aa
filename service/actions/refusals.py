"""Why an action is refused, as errors with facts. A refused action keeps no key and no claim."""

from datetime import datetime

from service.platform.errors import FieldError, SaxaulError
from service.rules.decide.judge import Refusal


class ActionRefusedError(SaxaulError):
    """The catalogue refuses this action; `reason` says why in one word."""

    code = "action-refused"
    members = ("reason",)
    reason = ""


class OverlapError(ActionRefusedError):
    """It meets another exclusive action of the same person."""

    reason = "overlap"
    text = (
        "You have another trip from {starts_at:%FT%TZ} to {ends_at:%FT%TZ};"
        " one person makes one trip at a time."
    )
    starts_at: datetime
    ends_at: datetime


class AlreadyClaimedError(ActionRefusedError):
    """What is paid once was paid before: says when, not by whom."""

    reason = "already-claimed"
    text = "This was counted at {bound_at:%FT%TZ} already."
    bound_at: datetime


class UnknownActionTypeError(SaxaulError):
    """The active rulebook has no such type."""

    code = "unknown-action-type"


class InvalidAttributesError(SaxaulError):
    """The attributes do not fit the action type."""

    code = "invalid-attributes"


def refusal_error(refusal: Refusal) -> SaxaulError:
    """The error of a refusal that the rules gave."""
    if refusal.code == UnknownActionTypeError.code:
        errors = (FieldError("#/type", refusal.detail),)
        return UnknownActionTypeError(refusal.detail, errors=errors)
    if refusal.code == InvalidAttributesError.code:
        wrong = [FieldError("#" + pointer, detail) for pointer, detail in refusal.errors]
        return InvalidAttributesError(refusal.detail, errors=(*wrong,))
    error = ActionRefusedError(refusal.detail)
    error.reason = refusal.reason or ""
    return error
