"""Names of people as others read them, for many requests at once."""

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple
from uuid import UUID

from service.platform import arrays
from service.platform.database import Database
from service.platform.together import Together


class Name(NamedTuple):
    """What somebody is called, and whether strangers may read it."""

    display_name: str
    is_public: bool


class Names:
    """Reads names as they are now. Who was erased has none."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._together = Together(self._read)

    async def of(self, people: Collection[UUID]) -> Mapping[UUID, Name]:
        """The names of these people, and perhaps of others who were asked for meanwhile."""
        return await self._together.ask(people) if people else {}

    async def _read(self, asked: Sequence[Collection[UUID]]) -> list[Mapping[UUID, Name]]:
        people = arrays.uuids(set().union(*asked))
        rows = await self._database.pool.fetch(_NAMES, people)
        found = {person: Name(name, is_public) for person, name, is_public in rows}
        return [found] * len(asked)


# `friends` is not public: it opens the scope of friends, not a list of strangers.
_NAMES = """
SELECT participant_id, display_name, visibility = 'public' FROM participants
WHERE participant_id = ANY($1::text::uuid[])"""
