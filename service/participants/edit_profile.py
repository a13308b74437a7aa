"""A person changes what they show of themselves."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from service.platform.database import Connection


async def edit_profile(
    connection: Connection, participant_id: UUID, changes: Mapping[str, Any]
) -> None:
    """Set these columns of a participant; one who was erased meanwhile stays erased."""
    if changes:
        columns = ", ".join(f"{name} = ${number}" for number, name in enumerate(changes, 2))
        text = f"UPDATE participants SET {columns} WHERE participant_id = $1"  # noqa: S608
        await connection.execute(text, participant_id, *changes.values())
