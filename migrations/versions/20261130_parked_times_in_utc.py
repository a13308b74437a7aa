"""The times of parked events in UTC: some had an offset that PostgreSQL does not read.

One of them kept all that was due from being released, and its person from an export. The other
times name the same instant as before, and stay as they are.

Revision: 0013, after 0012.
"""

from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

_TO_UTC = r"""
UPDATE partner_events SET body = jsonb_set(body, '{time}', to_jsonb(to_char(
    left(body ->> 'time', -6)::timestamp - right(body ->> 'time', 6)::interval,
    'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')))
WHERE body ->> 'time' ~ '[+-](1[6-9]|2[0-3]):[0-5][0-9]$'
"""


def upgrade() -> None:
    op.execute(_TO_UTC)


def downgrade() -> None:
    """Nothing: they name the same instants."""
