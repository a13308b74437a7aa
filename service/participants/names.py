"""Names of people as others read them, for many requests at once."""

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple
from uuid import UUID

from service.platform.reads import Reads
from service.platform.together import Together


class Name(NamedTuple):
    """Who somebody is, and whether strangers may read what they are called."""

    participant_id: UUID
    display_name: str
    is_public: bool


class Names:
    """Reads names as they are now, by the bytes of people's ids. Who was erased has none."""

    def __init__(self, reads: Reads) -> None:
        self._reads = reads
        self._together = Together(self._read)

    async def of(self, people: Collection[bytes]) -> Mapping[bytes, Name]:
        """The names of these people, and perhaps of others who were asked for meanwhile."""
        return await self._together.ask(people) if people else {}

    async def _read(self, asked: Sequence[Collection[bytes]]) -> list[Mapping[bytes, Name]]:
        people = {person for each in asked for person in each}
        wanted = "{" + ",".join([person.hex() for person in people]) + "}"
        names = map(Name._make, await self._reads.fetch(_NAMES, wanted))
        found = {name.participant_id.bytes: name for name in names}
        return [found] * len(asked)


# `friends` is not public: it opens the scope of friends, not a list of strangers.
_NAMES = """
SELECT participant_id, display_name, visibility = 'public' FROM participants
WHERE participant_id = ANY($1::text::uuid[])"""
