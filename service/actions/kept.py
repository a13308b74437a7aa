"""Actions as they were told: who looks again gets the same bytes, and no rule is asked again.

What is told of an action rests on its row, on its reversal and on the version that decided it, and
none of these ever changes but by erasure, which every process learns of at once.
"""

from typing import Any, NamedTuple
from uuid import UUID

import msgspec

from service.http.auth import FORGOTTEN_CHANNEL
from service.platform.database import Connection

_PEOPLE_MAX = 500
_EACH_MAX = 100


class Told(NamedTuple):
    """An action as JSON, and the languages that are in it."""

    body: msgspec.Raw
    languages: tuple[str, ...]


# The action, whether it is reversed, and the languages that its reader prefers.
Key = tuple[UUID, bool, tuple[str, ...]]


class KeptAnswers:
    """What people were told of late, a bounded part of it, by person."""

    def __init__(self) -> None:
        self._people: dict[UUID, dict[Key, Told]] = {}

    async def follow(self, connection: Connection) -> None:
        """Forget who is erased, for as long as this connection lives."""
        await connection.add_listener(FORGOTTEN_CHANNEL, self._on_forgotten)
        self._people.clear()

    def _on_forgotten(self, _connection: Any, _pid: int, _channel: str, payload: object) -> None:
        self._people.pop(UUID(str(payload)), None)

    def of(self, participant_id: UUID) -> dict[Key, Told]:
        """What this person was told, to look up and to add to.

        Of who is erased meanwhile it is nobody's any more: what is added then is lost.
        """
        told = self._people.get(participant_id)
        if told is None and len(self._people) >= _PEOPLE_MAX:
            # Whose were first asked for go: whoever looks again pays for the words once more.
            del self._people[next(iter(self._people))]
        if told is None or len(told) > _EACH_MAX:
            told = self._people[participant_id] = {}
        return told
