"""What a table says of the persons whose ids stand in it; one that says nothing fails a test."""

from typing import Any

DELETE = "DELETE FROM {table} WHERE participant_id = $1"


def of_persons(
    *on_erasure: str, kept: str | None = None, not_exported: str | None = None
) -> dict[str, Any]:
    """For `__table_args__`: what erasure does to the table, of person $1; or why it is `kept`.

    `not_exported` says why a person's export leaves it out.
    """
    told = {"on_erasure": on_erasure, "kept": kept, "not_exported": not_exported}
    return {"info": {name: value for name, value in told.items() if value}}
