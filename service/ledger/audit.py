"""What `ledger audit` compares of books and their transfers alone."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar
from uuid import UUID

from service.ledger.accounts import Account
from service.platform.checks import AnyCheck, Check, Off
from service.platform.database import Connection


@dataclass(slots=True)
class _Gifts:
    """What was given and taken as gifts, up to a time."""

    name: ClassVar[str] = "gifts"
    asks: ClassVar[str] = "all gifts sum to 0"

    cut: datetime
    grams: int = 0

    @classmethod
    async def begin(cls, _connection: Connection, cut: datetime) -> "_Gifts":
        return cls(cut)

    async def add_page(self, connection: Connection, ids: Sequence[UUID]) -> None:
        self.grams += int(await connection.fetchval(_GIFTS, ids, self.cut))

    async def finish(self, _connection: Connection) -> list[Off]:
        what = f"gifts over all books up to {self.cut:%Y-%m-%dT%H:%M:%SZ}"
        return [(None, what, "0 g", f"{self.grams} g")] if self.grams else []


_GIFTS = """
SELECT coalesce(sum(CASE WHEN credit = 7 THEN amount_g ELSE -amount_g END), 0)
FROM transfers WHERE participant_id = ANY($1::uuid[]) AND (debit = 7 OR credit = 7) AND at <= $2"""

_ACCOUNTS = ", ".join(f"({a:d}, '{a.column}', b.{a.column})" for a in Account)

_BALANCES = f"""
WITH moved AS (
    SELECT participant_id, debit, credit, sum(amount_g) AS grams FROM transfers
    WHERE participant_id = ANY($1::uuid[]) GROUP BY participant_id, debit, credit
), sides AS (
    SELECT participant_id, account, sum(grams) AS balance FROM (
        SELECT participant_id, credit AS account, grams FROM moved
        UNION ALL SELECT participant_id, debit, -grams FROM moved) AS side
    GROUP BY participant_id, account
), held AS (
    SELECT b.participant_id, a.account, a.name, a.balance FROM books b CROSS JOIN LATERAL (
        VALUES {_ACCOUNTS}) AS a (account, name, balance)
    WHERE b.participant_id = ANY($1::uuid[])
)
SELECT h.participant_id, 'balance of ' || h.name,
    coalesce(s.balance, 0) || ' g', h.balance || ' g'
FROM held h LEFT JOIN sides s ON s.participant_id = h.participant_id AND s.account = h.account
WHERE h.balance <> coalesce(s.balance, 0)"""  # noqa: S608 - constant columns

_HEADS = """
SELECT b.participant_id, o.what, o.expected, o.found FROM books b
LEFT JOIN LATERAL (
    SELECT t.seq, t.hash FROM transfers t WHERE t.participant_id = b.participant_id
    ORDER BY t.seq DESC LIMIT 1) AS t ON true
CROSS JOIN LATERAL (VALUES
    ('seq of the book', coalesce(t.seq, 0)::text, b.seq::text),
    ('head of the chain',
        encode(coalesce(t.hash, sha256('saxaul book '::bytea || uuid_send(b.participant_id))),
            'hex'),
        encode(b.head, 'hex')),
    ('seq that was found clean', least(b.audited_seq, b.seq)::text,
        b.audited_seq::text)) AS o (what, expected, found)
WHERE b.participant_id = ANY($1::uuid[]) AND o.expected <> o.found"""

# Which accounts a transfer may move between, by its cause.
_SIDES = """
SELECT t.participant_id, 'sides of transfer ' || t.seq, 'those of a known cause',
    format('%s from account %s to %s', t.cause, t.debit, t.credit)
FROM transfers t
WHERE t.participant_id = ANY($1::uuid[]) AND (t.cause, t.debit, t.credit) NOT IN (
    VALUES ('action', 1, 2), ('collect', 2, 3), ('arrears', 3, 8), ('expire', 2, 6),
        ('pledge', 3, 4), ('plant', 4, 5), ('release', 4, 3), ('adjust', 1, 3), ('adjust', 3, 1),
        ('reverse', 2, 1), ('reverse', 6, 1), ('reverse', 3, 1), ('reverse', 8, 1))"""

_PAIRS = """
SELECT t.participant_id, 'counterpart of transfer ' || t.seq,
    'in the book of ' || coalesce(t.counter_id::text, 'nobody'), 'none'
FROM transfers t
WHERE t.participant_id = ANY($1::uuid[]) AND (t.debit = 7 OR t.credit = 7) AND NOT EXISTS (
    SELECT FROM transfers o WHERE o.participant_id = t.counter_id
        AND o.counter_id = t.participant_id AND o.cause = t.cause AND o.cause_id = t.cause_id
        AND o.amount_g = t.amount_g AND o.at = t.at
        AND CASE WHEN t.debit = 7 THEN o.credit = 7 ELSE o.debit = 7 END)"""

CHECKS: tuple[AnyCheck, ...] = (
    Check("balances", "each account is the sum of its transfers", _BALANCES),
    Check("heads", "each book ends where its chain ends", _HEADS),
    Check("sides", "transfers move between the accounts of their cause", _SIDES),
    Check("pairs", "each gift has its counterpart", _PAIRS),
    _Gifts,
)
