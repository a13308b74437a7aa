"""What `ledger audit` compares of partners' events: the actions that they were paid by."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar
from uuid import UUID

from service.platform.checks import AnyCheck, Off, Walk
from service.platform.database import Connection


@dataclass(slots=True)
class _Events:
    """How many actions of partners there are up to a time, and what tells them without names."""

    name: ClassVar[str] = "events"
    asks: ClassVar[str] = "what partners were paid for are their accepted events"

    cut: datetime
    n: int = 0
    mark: int = 0

    @classmethod
    async def begin(cls, _connection: Connection, cut: datetime) -> "_Events":
        return cls(cut)

    async def add_page(self, connection: Connection, ids: Sequence[UUID]) -> None:
        [(n, mark)] = await connection.fetch(_PAID, ids, self.cut)
        self.n, self.mark = self.n + n, self.mark + int(mark)

    async def finish(self, connection: Connection) -> list[Off]:
        [(n, mark)] = await connection.fetch(_ACCEPTED, self.cut)
        if (n, int(mark)) == (self.n, self.mark):
            return []
        found = f"{n} events" if n != self.n else f"{n} events, not all of them theirs"
        what = f"accepted events of partners up to {self.cut:%Y-%m-%dT%H:%M:%SZ}"
        return [(None, what, f"those of {self.n} actions", found)]


_PAID = """
SELECT count(*), coalesce(sum(hashtextextended(id::text, 0)), 0)
FROM actions WHERE participant_id = ANY($1::uuid[]) AND kind = 'action'
    AND source LIKE 'partner:%' AND recorded_at <= $2"""

_ACCEPTED = """
SELECT count(*), coalesce(sum(hashtextextended(a.id::text, 0)), 0)
FROM partner_events e
JOIN actions a ON a.participant_id = e.participant_id AND a.id = e.action_id
WHERE e.state IN ('bound', 'reversed') AND a.kind = 'action' AND a.recorded_at <= $1"""

_BOUND = """
SELECT e.participant_id, 'event ' || e.event_id || ' of ' || e.partner_id,
    CASE e.state WHEN 'reversed' THEN 'an action of it that is reversed'
        ELSE 'an action of it' END,
    CASE WHEN a.id IS NULL THEN 'no action' WHEN r.id IS NULL THEN 'an action that stands'
        ELSE 'another action' END
FROM partner_events e
LEFT JOIN actions a ON a.participant_id = e.participant_id AND a.id = e.action_id
LEFT JOIN actions r ON r.participant_id = a.participant_id AND r.occurred_at = a.occurred_at
    AND r.reverses = a.id
WHERE e.event_key > $1 AND e.event_key <= $2 AND e.state IN ('bound', 'reversed')
    AND (a.id IS NULL
        OR (a.kind = 'action' AND a.source <> 'partner:' || e.partner_id)
        OR (a.kind = 'action' AND a.fingerprint <> e.fingerprint)
        OR (e.state = 'reversed' AND r.id IS NULL))"""

CHECKS: tuple[AnyCheck, ...] = (
    _Events,
    Walk("bound events", "each accepted event has its action", b"", 1_000, "partner_events",
         "event_key", _BOUND),
)  # fmt: skip
