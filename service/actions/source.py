"""Who told of an action, as its row keeps it: the person, or a partner by name."""

_PARTNER = "partner:"


def partner_source(partner_id: str) -> str:
    """The source of what a partner told."""
    return _PARTNER + partner_id


def partner_of(source: str) -> str | None:
    """The partner who told; None for others."""
    return source.removeprefix(_PARTNER) if source.startswith(_PARTNER) else None
