"""`until` of a planting season is the day after its last one, as that of rules and campaigns is.

The same days stay open: what was stored moves by one.

Revision: 0012, after 0011.
"""

from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

_CHECK = "ck_projects_season_ends_after_it_began"


def upgrade() -> None:
    op.drop_constraint(op.f(_CHECK), "projects", type_="check")
    op.execute("UPDATE projects SET season_until = season_until + 1")
    op.create_check_constraint(op.f(_CHECK), "projects", "season_until > season_from")


def downgrade() -> None:
    op.drop_constraint(op.f(_CHECK), "projects", type_="check")
    op.execute("UPDATE projects SET season_until = season_until - 1")
    op.create_check_constraint(op.f(_CHECK), "projects", "season_until >= season_from")
