"""Partners' keys, links and link codes; parked events find their subject and their target.

Revision: 0002, after 0001. Nothing wrote partner_events before, so its checks meet no row.
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("SELECT set_config('citus.multi_shard_modify_mode', 'sequential', true)")
    op.execute("SET LOCAL lock_timeout = '5s'")
    _make_keys()
    _make_links()
    op.add_column("partner_events", sa.Column("subject_key", sa.LargeBinary(), nullable=True))
    op.add_column("partner_events", sa.Column("target_key", sa.LargeBinary(), nullable=True))
    op.create_check_constraint(
        op.f("ck_partner_events_event_key_is_uuid"),
        "partner_events",
        "octet_length(event_key) = 16",
    )
    for columns, where in _INDEXES:
        op.create_index(
            op.f("ix_partner_events_" + "_".join(columns)),
            "partner_events",
            columns,
            unique=False,
            postgresql_where=sa.text(where),
        )


def downgrade() -> None:
    for columns, _ in reversed(_INDEXES):
        op.drop_index(op.f("ix_partner_events_" + "_".join(columns)), table_name="partner_events")
    op.drop_constraint(op.f("ck_partner_events_event_key_is_uuid"), "partner_events", type_="check")
    op.drop_column("partner_events", "target_key")
    op.drop_column("partner_events", "subject_key")
    op.drop_table("link_codes")
    op.drop_table("links")
    op.drop_table("partner_keys")


_INDEXES = (
    (["partner_id", "subject_key"], "state = 'parked'"),
    (["target_key"], "state = 'parked'"),
    (["received_at"], "state NOT IN ('bound', 'reversed')"),
)


def _make_keys() -> None:
    op.create_table(
        "partner_keys",
        sa.Column("partner_id", sa.Text(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("public_key", sa.LargeBinary(), nullable=True),
        sa.Column("sealed_secret", sa.LargeBinary(), nullable=True),
        sa.Column("sealed_key", sa.LargeBinary(), nullable=True),
        sa.Column("master_key_id", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("not_before", sa.DateTime(timezone=True), nullable=False),
        sa.Column("not_after", sa.DateTime(timezone=True), nullable=True),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_used_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "kind IN ('hmac', 'ed25519')", name=op.f("ck_partner_keys_kind_is_known")
        ),
        sa.CheckConstraint(
            "(kind = 'ed25519') = (public_key IS NOT NULL)",
            name=op.f("ck_partner_keys_public_key_of_its_kind"),
        ),
        sa.CheckConstraint(
            "(kind = 'hmac') = (sealed_secret IS NOT NULL AND sealed_key IS NOT NULL"
            " AND master_key_id IS NOT NULL)",
            name=op.f("ck_partner_keys_secret_is_sealed"),
        ),
        sa.ForeignKeyConstraint(
            ["partner_id"],
            ["partners.id"],
            name=op.f("fk_partner_keys_partner_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("partner_id", "id", name=op.f("pk_partner_keys")),
    )
    op.create_index(op.f("ix_partner_keys_master_key_id"), "partner_keys", ["master_key_id"])


def _make_links() -> None:
    op.create_table(
        "links",
        sa.Column("partner_id", sa.Text(), nullable=False),
        sa.Column("subject_key", sa.LargeBinary(), nullable=False),
        sa.Column("participant_id", sa.Uuid(), nullable=False),
        sa.Column("linked_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "octet_length(subject_key) = 32", name=op.f("ck_links_subject_key_is_hmac")
        ),
        sa.PrimaryKeyConstraint("partner_id", "subject_key", name=op.f("pk_links")),
    )
    op.create_index(op.f("ix_links_participant_id"), "links", ["participant_id"])
    op.create_table(
        "link_codes",
        sa.Column("code_key", sa.LargeBinary(), nullable=False),
        sa.Column("partner_id", sa.Text(), nullable=False),
        sa.Column("participant_id", sa.Uuid(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "octet_length(code_key) = 32", name=op.f("ck_link_codes_code_key_is_hmac")
        ),
        sa.PrimaryKeyConstraint("code_key", name=op.f("pk_link_codes")),
    )
    op.create_index(op.f("ix_link_codes_participant_id"), "link_codes", ["participant_id"])
    op.create_index(op.f("ix_link_codes_expires_at"), "link_codes", ["expires_at"])
