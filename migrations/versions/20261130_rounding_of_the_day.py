"""Counters hold the exact sums of a rule's day.

They begin at nothing: what was awarded before stays as it was rounded, action by action. Awards
keep the exact amounts, which tell of what was reported: erasure takes them away with it.

Revision: 0008, after 0007.
"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_REFUSE_CHANGE_BUT_ERASURE = """
CREATE OR REPLACE FUNCTION refuse_change_but_erasure() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND NEW.attributes IS NULL
        AND to_jsonb(NEW) - 'attributes' = to_jsonb(OLD) - 'attributes'
    THEN
        {also}RETURN NEW;
    END IF;
    RAISE EXCEPTION '% on %.% is refused: only attributes may be erased',
        TG_OP, TG_TABLE_SCHEMA, TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
END $$"""

_WITHOUT_SUMS = """NEW.awards := coalesce((
            SELECT jsonb_agg(w - 'carried_ng' || jsonb_build_object('counters', coalesce((
                SELECT jsonb_agg(c) FROM jsonb_array_elements(w -> 'counters') AS c
                WHERE jsonb_array_length(c) = 5), '[]')))
            FROM jsonb_array_elements(NEW.awards) AS w), '[]');
        """

_COLUMNS = ("earned_g", "earned_rest_ng", "saved_g", "saved_rest_ng")


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    for name in _COLUMNS:
        column = sa.Column(name, sa.BigInteger(), server_default="0", nullable=False)
        op.add_column("counters", column)
    for sums in ("earned", "saved"):
        op.create_check_constraint(
            op.f(f"ck_counters_{sums}_not_negative"),
            "counters",
            f"{sums}_g >= 0 AND {sums}_g * 1e9 + {sums}_rest_ng >= 0",
        )
    op.execute(_REFUSE_CHANGE_BUT_ERASURE.format(also=_WITHOUT_SUMS))


def downgrade() -> None:
    op.execute(_REFUSE_CHANGE_BUT_ERASURE.format(also=""))
    for name in _COLUMNS:
        op.drop_column("counters", name)
