"""Nobody has grams to spend and owes grams: what is available repays arrears first.

Books that have both repay by a transfer of the usual kind, chained as `ledger audit` recomputes it.
Its time is that of the last booking, its cause what last made grams available there. Nobody else's
balance changes.

Revision: 0007, after 0006.
"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_BOOKS_MAX = 1_000

# The canonical bytes of a transfer as in `service/ledger/books.py`, from account 3 to 8.
_REPAY = sa.text("""
WITH due AS (
    SELECT b.participant_id, b.seq + 1 AS seq, b.head, least(b.available, -b.arrears) AS amount_g,
        b.last_at AS at, t.cause_id
    FROM books b CROSS JOIN LATERAL (
        SELECT cause_id FROM transfers
        WHERE participant_id = b.participant_id AND credit = 3 ORDER BY seq DESC LIMIT 1) AS t
    WHERE b.available > 0 AND b.arrears < 0
    ORDER BY b.participant_id LIMIT :books_max FOR NO KEY UPDATE OF b
), repaid AS (
    INSERT INTO transfers (participant_id, seq, amount_g, at, cause_id, debit, credit, cause, hash)
    SELECT participant_id, seq, amount_g, at, cause_id, 3, 8, 'arrears', sha256(
        head || uuid_send(participant_id) || int8send(seq) || int2send(3::int2)
        || int2send(8::int2) || int8send(amount_g) || uuid_send(cause_id)
        || decode(repeat('00', 16), 'hex')
        || int8send((extract(epoch FROM at) * 1000000)::bigint)
        || convert_to('arrears', 'UTF8') || decode('00', 'hex'))
    FROM due
    RETURNING participant_id, seq, amount_g, hash
)
UPDATE books b SET available = b.available - r.amount_g, arrears = b.arrears + r.amount_g,
    seq = r.seq, head = r.hash
FROM repaid r WHERE b.participant_id = r.participant_id""")


def upgrade() -> None:
    op.execute("SELECT set_config('citus.multi_shard_modify_mode', 'sequential', true)")
    op.execute("SET LOCAL lock_timeout = '5s'")
    # First of all: a process of the version before could make another such book meanwhile.
    op.execute("LOCK TABLE books IN ACCESS EXCLUSIVE MODE")
    while op.get_bind().execute(_REPAY, {"books_max": _BOOKS_MAX}).rowcount:
        pass
    op.create_check_constraint(
        op.f("ck_books_debt_is_repaid_first"), "books", "available = 0 OR arrears = 0"
    )


def downgrade() -> None:
    op.execute("SELECT set_config('citus.multi_shard_modify_mode', 'sequential', true)")
    op.drop_constraint(op.f("ck_books_debt_is_repaid_first"), "books", type_="check")
