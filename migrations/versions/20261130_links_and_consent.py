"""A link that ended stays, so that a card that was sold is told from one that was nobody's.

Revision: 0009, after 0008. Of links that are there nothing is known of before: `since` is null.
"""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.alter_column("links", "participant_id", nullable=True)
    for name in ("since", "ended_at"):
        op.add_column("links", sa.Column(name, sa.DateTime(timezone=True), nullable=True))
    op.create_check_constraint(
        op.f("ck_links_nobodys_has_ended"),
        "links",
        "participant_id IS NOT NULL OR ended_at IS NOT NULL",
    )


def downgrade() -> None:
    op.drop_constraint(op.f("ck_links_nobodys_has_ended"), "links", type_="check")
    op.execute("DELETE FROM links WHERE ended_at IS NOT NULL")
    for name in ("ended_at", "since"):
        op.drop_column("links", name)
    op.alter_column("links", "participant_id", nullable=False)
