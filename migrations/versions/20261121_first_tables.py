"""First tables: people, books, actions, bubbles, rules, planting, partners, outbox, audit log.

Revision: 0001, the first. Every key of a person's table begins with participant_id, so that the
tables can be distributed later; append-only tables refuse changes by trigger.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("SELECT set_config('citus.multi_shard_modify_mode', 'sequential', true)")
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.create_table(
        "actions",
        sa.Column("participant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("occurred_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ends_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ripens_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("saved_g", sa.BigInteger(), nullable=False),
        sa.Column("energy_g", sa.BigInteger(), nullable=False),
        sa.Column("rulebook_version", sa.Integer(), nullable=False),
        sa.Column("streak_days", sa.Integer(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("exclusive", sa.Boolean(), nullable=False),
        sa.Column("verified", sa.Boolean(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("reporter", sa.Text(), nullable=False),
        sa.Column("region", sa.Text(), nullable=False),
        sa.Column("reverses", sa.Uuid(), nullable=True),
        sa.Column("fingerprint", sa.LargeBinary(), nullable=False),
        sa.Column("facts_digest", sa.LargeBinary(), nullable=False),
        sa.Column("claim_key", sa.LargeBinary(), nullable=True),
        sa.Column("attributes", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("awards", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.CheckConstraint(
            "(kind = 'reversal') = (reverses IS NOT NULL)",
            name=op.f("ck_actions_reversal_names_its_action"),
        ),
        sa.CheckConstraint(
            "kind = 'reversal' OR (saved_g >= 0 AND energy_g >= 0)",
            name=op.f("ck_actions_award_not_negative"),
        ),
        sa.CheckConstraint("kind IN ('action', 'reversal')", name=op.f("ck_actions_kind_is_known")),
        sa.CheckConstraint(
            "octet_length(fingerprint) = 16", name=op.f("ck_actions_fingerprint_is_128_bits")
        ),
        sa.PrimaryKeyConstraint("participant_id", "id", name=op.f("pk_actions")),
    )
    op.create_index(
        op.f("ix_actions_participant_id_occurred_at"),
        "actions",
        ["participant_id", "occurred_at"],
        unique=False,
    )
    op.create_index(
        op.f("ix_actions_recorded_at"),
        "actions",
        ["recorded_at"],
        unique=False,
        postgresql_using="brin",
    )
    op.create_table(
        "active_rulebook",
        sa.Column("id", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("folder_sha256", sa.LargeBinary(), nullable=True),
        sa.CheckConstraint("id = 1", name=op.f("ck_active_rulebook_one_row")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_active_rulebook")),
    )
    op.create_table(
        "audit_head",
        sa.Column("id", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.CheckConstraint("id = 1", name=op.f("ck_audit_head_one_row")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_head")),
    )
    op.create_table(
        "audit_log",
        sa.Column("seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("act", sa.Text(), nullable=False),
        sa.Column("object", sa.Text(), nullable=False),
        sa.Column("detail", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("request_id", sa.Text(), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.CheckConstraint("seq > 0", name=op.f("ck_audit_log_seq_is_positive")),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_audit_log")),
    )
    op.create_table(
        "books",
        sa.Column("participant_id", sa.Uuid(), nullable=False),
        sa.Column("issuance", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("ripening", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("available", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("pledged", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("planted", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("expired", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("gifts", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("arrears", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("saved_g", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("seq", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("action_seq", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("audited_seq", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("last_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("active_days", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("active_anchor", sa.Date(), nullable=True),
        sa.Column("active_before", sa.Integer(), server_default="0", nullable=False),
        sa.Column("trees", sa.Integer(), server_default="0", nullable=False),
        sa.Column("closed", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("suspended", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("head", sa.LargeBinary(), nullable=False),
        sa.Column("salt", sa.LargeBinary(), nullable=True),
        sa.CheckConstraint("arrears <= 0", name=op.f("ck_books_arrears_not_positive")),
        sa.CheckConstraint("available >= 0", name=op.f("ck_books_available_not_negative")),
        sa.CheckConstraint("expired >= 0", name=op.f("ck_books_expired_not_negative")),
        sa.CheckConstraint(
            "issuance + ripening + available + pledged + planted + expired + gifts + arrears = 0",
            name=op.f("ck_books_sums_to_zero"),
        ),
        sa.CheckConstraint(
            "issuance + arrears + least(gifts, 0) <= 0", name=op.f("ck_books_issuance_is_covered")
        ),
        sa.CheckConstraint("octet_length(head) = 32", name=op.f("ck_books_head_is_sha256")),
        sa.CheckConstraint("planted >= 0", name=op.f("ck_books_planted_not_negative")),
        sa.CheckConstraint("pledged >= 0", name=op.f("ck_books_pledged_not_negative")),
        sa.CheckConstraint("ripening >= 0", name=op.f("ck_books_ripening_not_negative")),
        sa.CheckConstraint("trees >= 0", name=op.f("ck_books_trees_not_negative")),
        sa.PrimaryKeyConstraint("participant_id", name=op.f("pk_books")),
        postgresql_with={"fillfactor": "50"},
    )
    op.create_table(
        "bubbles",
        sa.Column("participant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("energy_g", sa.BigInteger(), nullable=False),
        sa.Column("remaining_g", sa.BigInteger(), nullable=False),
        sa.Column("collected_g", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("taken_g", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("expired_g", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("reversed_g", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("ripens_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("origin", sa.Text(), nullable=False),
        sa.Column("origin_id", sa.Uuid(), nullable=False),
        sa.CheckConstraint("origin IN ('action', 'gift')", name=op.f("ck_bubbles_origin_is_known")),
        sa.CheckConstraint("energy_g > 0", name=op.f("ck_bubbles_energy_is_positive")),
        sa.CheckConstraint(
            "expires_at > ripens_at", name=op.f("ck_bubbles_expires_after_ripening")
        ),
        sa.CheckConstraint(
            "least(remaining_g, collected_g, taken_g, expired_g, reversed_g) >= 0",
            name=op.f("ck_bubbles_parts_not_negative"),
        ),
        sa.CheckConstraint(
            "remaining_g + collected_g + taken_g + expired_g + reversed_g = energy_g",
            name=op.f("ck_bubbles_parts_sum_to_energy"),
        ),
        sa.PrimaryKeyConstraint("participant_id", "id", name=op.f("pk_bubbles")),
        postgresql_with={"fillfactor": "80"},
    )
    op.create_index(op.f("ix_bubbles_expires_at"), "bubbles", ["expires_at"], unique=False)
    op.create_table(
        "campaign_budgets",
        sa.Column("campaign", sa.Text(), nullable=False),
        sa.Column("budget_g", sa.BigInteger(), nullable=False),
        sa.Column("left_g", sa.BigInteger(), nullable=False),
        sa.Column("seq", sa.BigInteger(), server_default="0", nullable=False),
        sa.CheckConstraint(
            "left_g BETWEEN 0 AND budget_g", name=op.f("ck_campaign_budgets_left_within_budget")
        ),
        sa.PrimaryKeyConstraint("campaign", name=op.f("pk_campaign_budgets")),
    )
    op.create_table(
        "claims",
        sa.Column("claim_key", sa.LargeBinary(), nullable=False),
        sa.Column("participant_id", sa.Uuid(), nullable=False),
        sa.Column("action_id", sa.Uuid(), nullable=False),
        sa.Column("bound_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "octet_length(claim_key) = 32", name=op.f("ck_claims_claim_key_is_hmac")
        ),
        sa.PrimaryKeyConstraint("claim_key", name=op.f("pk_claims")),
    )
    op.create_table(
        "counters",
        sa.Column("participant_id", sa.Uuid(), nullable=False),
        sa.Column("counter", sa.Text(), nullable=False),
        sa.Column("period", sa.Text(), nullable=False),
        sa.Column("by_key", sa.Text(), nullable=False),
        sa.Column("n", sa.BigInteger(), nullable=False),
        sa.Column("grams", sa.BigInteger(), nullable=False),
        sa.Column("ends_on", sa.Date(), nullable=True),
        sa.CheckConstraint("grams >= 0", name=op.f("ck_counters_grams_not_negative")),
        sa.CheckConstraint("n >= 0", name=op.f("ck_counters_n_not_negative")),
        sa.PrimaryKeyConstraint(
            "participant_id", "counter", "period", "by_key", name=op.f("pk_counters")
        ),
        postgresql_with={"fillfactor": "70"},
    )
    op.create_index(op.f("ix_counters_ends_on"), "counters", ["ends_on"], unique=False)
    op.create_table(
        "development_clock",
        sa.Column("id", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("offset_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_development_clock")),
    )
    op.create_table(
        "erasures",
        sa.Column("participant_id", sa.Uuid(), nullable=False),
        sa.Column("erased_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("participant_id", name=op.f("pk_erasures")),
    )
    op.create_index(
        op.f("ix_erasures_erased_at"),
        "erasures",
        ["erased_at"],
        unique=False,
        postgresql_where="finished_at IS NULL",
    )
    op.create_table(
        "idempotency_keys",
        sa.Column("participant_id", sa.Uuid(), nullable=False),
        sa.Column("route", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("fingerprint", sa.LargeBinary(), nullable=False),
        sa.Column("status", sa.SmallInteger(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "status = 0 OR status BETWEEN 200 AND 499",
            name=op.f("ck_idempotency_keys_status_is_final"),
        ),
        sa.PrimaryKeyConstraint("participant_id", "route", "key", name=op.f("pk_idempotency_keys")),
    )
    op.create_index(
        op.f("ix_idempotency_keys_created_at"), "idempotency_keys", ["created_at"], unique=False
    )
    op.create_table(
        "identities",
        sa.Column("subject_key", sa.LargeBinary(), nullable=False),
        sa.Column("participant_id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "octet_length(subject_key) = 32", name=op.f("ck_identities_subject_key_is_hmac")
        ),
        sa.PrimaryKeyConstraint("subject_key", name=op.f("pk_identities")),
    )
    op.create_index(
        op.f("ix_identities_participant_id"), "identities", ["participant_id"], unique=False
    )
    op.create_table(
        "outbox",
        sa.Column("participant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("lane", sa.SmallInteger(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=True),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("body", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.PrimaryKeyConstraint("participant_id", "id", name=op.f("pk_outbox")),
    )
    op.create_index(
        op.f("ix_outbox_lane_id"),
        "outbox",
        ["lane", "id"],
        unique=False,
        postgresql_where="position IS NULL",
    )
    op.create_index(op.f("ix_outbox_lane_position"), "outbox", ["lane", "position"], unique=False)
    op.create_table(
        "participants",
        sa.Column("participant_id", sa.Uuid(), nullable=False),
        sa.Column("display_name", sa.Text(), nullable=False),
        sa.Column("region", sa.Text(), nullable=True),
        sa.Column("visibility", sa.Text(), server_default="public", nullable=False),
        sa.Column("takeable", sa.Boolean(), server_default="true", nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "visibility IN ('public', 'friends', 'hidden')",
            name=op.f("ck_participants_visibility_is_known"),
        ),
        sa.CheckConstraint(
            "char_length(display_name) BETWEEN 1 AND 64",
            name=op.f("ck_participants_display_name_has_length"),
        ),
        sa.PrimaryKeyConstraint("participant_id", name=op.f("pk_participants")),
    )
    op.create_index(
        op.f("ix_participants_display_name"), "participants", ["display_name"], unique=False
    )
    op.create_table(
        "partner_events",
        sa.Column("event_key", sa.LargeBinary(), nullable=False),
        sa.Column("partner_id", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("event_id", sa.Text(), nullable=False),
        sa.Column("fingerprint", sa.LargeBinary(), nullable=False),
        sa.Column("participant_id", sa.Uuid(), nullable=True),
        sa.Column("action_id", sa.Uuid(), nullable=True),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("body", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "state <> 'bound' OR (participant_id IS NOT NULL AND action_id IS NOT NULL)",
            name=op.f("ck_partner_events_bound_names_its_action"),
        ),
        sa.CheckConstraint(
            "state = 'parked' OR body IS NULL",
            name=op.f("ck_partner_events_body_only_while_parked"),
        ),
        sa.CheckConstraint(
            "state IN ('parked', 'bound', 'reversed_before', 'reversed', 'discarded')",
            name=op.f("ck_partner_events_state_is_known"),
        ),
        sa.PrimaryKeyConstraint("event_key", name=op.f("pk_partner_events")),
    )
    op.create_index(
        op.f("ix_partner_events_partner_id_received_at"),
        "partner_events",
        ["partner_id", "received_at"],
        unique=False,
        postgresql_where="state = 'parked'",
    )
    op.create_table(
        "partners",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("source_prefix", sa.Text(), nullable=False),
        sa.Column("action_types", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("disabled", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("id ~ '^[a-z0-9][a-z0-9-]{1,62}$'", name=op.f("ck_partners_id_is_slug")),
        sa.CheckConstraint("source_prefix <> ''", name=op.f("ck_partners_source_prefix_not_empty")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_partners")),
    )
    op.create_table(
        "pledges",
        sa.Column("participant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("project_id", sa.Uuid(), nullable=False),
        sa.Column("trees", sa.Integer(), nullable=False),
        sa.Column("amount_g", sa.BigInteger(), nullable=False),
        sa.Column("dedication", sa.Text(), nullable=True),
        sa.Column("region", sa.Text(), server_default="", nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("cancelled_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("amount_g > 0", name=op.f("ck_pledges_amount_is_positive")),
        sa.CheckConstraint("trees BETWEEN 1 AND 1000", name=op.f("ck_pledges_trees_within_bounds")),
        sa.PrimaryKeyConstraint("participant_id", "id", name=op.f("pk_pledges")),
    )
    op.create_table(
        "projects",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("species", sa.Text(), nullable=False),
        sa.Column("place", sa.Text(), nullable=False),
        sa.Column("country", sa.Text(), nullable=False),
        sa.Column("partner", sa.Text(), nullable=False),
        sa.Column("image_url", sa.Text(), nullable=True),
        sa.Column("price_g", sa.BigInteger(), nullable=False),
        sa.Column("capacity", sa.Integer(), nullable=False),
        sa.Column("funded", sa.Integer(), nullable=True),
        sa.Column("season_from", sa.Date(), nullable=True),
        sa.Column("season_until", sa.Date(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("capacity > 0", name=op.f("ck_projects_capacity_is_positive")),
        sa.CheckConstraint(
            "funded BETWEEN 0 AND capacity", name=op.f("ck_projects_funded_within_capacity")
        ),
        sa.CheckConstraint("price_g > 0", name=op.f("ck_projects_price_is_positive")),
        sa.CheckConstraint(
            "(season_from IS NULL) = (season_until IS NULL)",
            name=op.f("ck_projects_season_has_both_ends"),
        ),
        sa.CheckConstraint(
            "season_until >= season_from", name=op.f("ck_projects_season_ends_after_it_began")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_projects")),
    )
    op.create_table(
        "relay_lanes",
        sa.Column("lane", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("epoch", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("owner", sa.Uuid(), nullable=True),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("positioned", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("applied", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("generation", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("wanted", sa.BigInteger(), server_default="0", nullable=False),
        sa.CheckConstraint(
            "applied <= positioned", name=op.f("ck_relay_lanes_applied_is_positioned")
        ),
        sa.PrimaryKeyConstraint("lane", name=op.f("pk_relay_lanes")),
    )
    op.create_table(
        "rulebook_activations",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("activated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("activated_by", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_rulebook_activations")),
    )
    op.create_table(
        "rulebooks",
        sa.Column("version", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("sha256", sa.LargeBinary(), nullable=False),
        sa.Column("files", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("author", sa.Text(), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("based_on", sa.Integer(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("version > 0", name=op.f("ck_rulebooks_version_is_positive")),
        sa.PrimaryKeyConstraint("version", name=op.f("pk_rulebooks")),
    )
    op.create_table(
        "stock",
        sa.Column("project_id", sa.Uuid(), nullable=False),
        sa.Column("for_sale", sa.Integer(), nullable=False),
        sa.Column("pledged", sa.Integer(), server_default="0", nullable=False),
        sa.Column("planted", sa.Integer(), server_default="0", nullable=False),
        sa.Column("verified", sa.Integer(), server_default="0", nullable=False),
        sa.CheckConstraint(
            "planted BETWEEN 0 AND pledged", name=op.f("ck_stock_planted_within_pledged")
        ),
        sa.CheckConstraint("pledged BETWEEN 0 AND for_sale", name=op.f("ck_stock_never_oversold")),
        sa.CheckConstraint(
            "verified BETWEEN 0 AND planted", name=op.f("ck_stock_verified_within_planted")
        ),
        sa.PrimaryKeyConstraint("project_id", name=op.f("pk_stock")),
    )
    op.create_table(
        "takes",
        sa.Column("participant_id", sa.Uuid(), nullable=False),
        sa.Column("bubble_id", sa.Uuid(), nullable=False),
        sa.Column("taker_id", sa.Uuid(), nullable=False),
        sa.Column("taken_g", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("taken_g > 0", name=op.f("ck_takes_taken_is_positive")),
        sa.PrimaryKeyConstraint("participant_id", "bubble_id", "taker_id", name=op.f("pk_takes")),
    )
    op.create_table(
        "transfers",
        sa.Column("participant_id", sa.Uuid(), nullable=False),
        sa.Column("seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("amount_g", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("cause_id", sa.Uuid(), nullable=False),
        sa.Column("counter_id", sa.Uuid(), nullable=True),
        sa.Column("debit", sa.SmallInteger(), nullable=False),
        sa.Column("credit", sa.SmallInteger(), nullable=False),
        sa.Column("cause", sa.Text(), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.CheckConstraint("amount_g > 0", name=op.f("ck_transfers_amount_is_positive")),
        sa.CheckConstraint("credit BETWEEN 1 AND 8", name=op.f("ck_transfers_credit_is_account")),
        sa.CheckConstraint("debit <> credit", name=op.f("ck_transfers_sides_differ")),
        sa.CheckConstraint("debit BETWEEN 1 AND 8", name=op.f("ck_transfers_debit_is_account")),
        sa.CheckConstraint("octet_length(hash) = 32", name=op.f("ck_transfers_hash_is_sha256")),
        sa.CheckConstraint("seq > 0", name=op.f("ck_transfers_seq_is_positive")),
        sa.PrimaryKeyConstraint("participant_id", "seq", name=op.f("pk_transfers")),
    )
    op.create_index(
        op.f("ix_transfers_at"), "transfers", ["at"], unique=False, postgresql_using="brin"
    )
    op.create_index(
        op.f("ix_transfers_participant_id"),
        "transfers",
        ["participant_id"],
        unique=False,
        postgresql_where=sa.text("cause = 'adjust'"),
    )
    op.create_table(
        "tree_numbers",
        sa.Column("number", sa.Text(), nullable=False),
        sa.Column("participant_id", sa.Uuid(), nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_tree_numbers")),
    )
    op.create_table(
        "tree_steps",
        sa.Column("participant_id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.Text(), nullable=False),
        sa.Column("step", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("plot_id", sa.Uuid(), nullable=True),
        sa.Column("evidence_id", sa.Uuid(), nullable=True),
        sa.CheckConstraint(
            "status IN ('pledged', 'allocated', 'planted', 'verified', 'lost', 'replaced', 'cancelled')",
            name=op.f("ck_tree_steps_status_is_known"),
        ),
        sa.PrimaryKeyConstraint("participant_id", "number", "step", name=op.f("pk_tree_steps")),
    )
    op.create_table(
        "trees",
        sa.Column("participant_id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.Text(), nullable=False),
        sa.Column("pledge_id", sa.Uuid(), nullable=False),
        sa.Column("project_id", sa.Uuid(), nullable=False),
        sa.Column("plot_id", sa.Uuid(), nullable=True),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("price_g", sa.BigInteger(), nullable=False),
        sa.Column("pledged_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("step", sa.Integer(), server_default="1", nullable=False),
        sa.Column("pledged_seq", sa.BigInteger(), nullable=False),
        sa.Column("planted_seq", sa.BigInteger(), nullable=True),
        sa.CheckConstraint(
            "planted_seq IS NOT NULL OR status NOT IN ('planted', 'verified')",
            name=op.f("ck_trees_planted_is_paid"),
        ),
        sa.CheckConstraint(
            "plot_id IS NOT NULL OR status IN ('pledged', 'cancelled')",
            name=op.f("ck_trees_allocated_has_plot"),
        ),
        sa.CheckConstraint(
            "status IN ('pledged', 'allocated', 'planted', 'verified', 'lost', 'replaced', 'cancelled')",
            name=op.f("ck_trees_status_is_known"),
        ),
        sa.CheckConstraint("price_g > 0", name=op.f("ck_trees_price_is_positive")),
        sa.PrimaryKeyConstraint("participant_id", "number", name=op.f("pk_trees")),
    )
    op.create_index(
        op.f("ix_trees_participant_id_pledge_id"),
        "trees",
        ["participant_id", "pledge_id"],
        unique=False,
    )
    op.create_index(op.f("ix_trees_plot_id_status"), "trees", ["plot_id", "status"], unique=False)
    op.create_index(
        op.f("ix_trees_project_id_status_pledged_at"),
        "trees",
        ["project_id", "status", "pledged_at"],
        unique=False,
    )
    op.create_table(
        "plots",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("project_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("position", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("area_m2", sa.Double(), nullable=False),
        sa.Column("to_allocate", sa.Integer(), server_default="0", nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("area_m2 > 0", name=op.f("ck_plots_area_is_positive")),
        sa.CheckConstraint("to_allocate >= 0", name=op.f("ck_plots_to_allocate_not_negative")),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name=op.f("fk_plots_project_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_plots")),
    )
    op.create_index(op.f("ix_plots_project_id"), "plots", ["project_id"], unique=False)
    op.create_table(
        "plot_evidence",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("plot_id", sa.Uuid(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("items", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.ForeignKeyConstraint(["plot_id"], ["plots.id"], name=op.f("fk_plot_evidence_plot_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_plot_evidence")),
    )
    op.create_index(op.f("ix_plot_evidence_plot_id"), "plot_evidence", ["plot_id"], unique=False)
    _refuse_changes()


def _refuse_changes() -> None:
    """Make history append-only. TG_TABLE_NAME is a shard's own name once tables are distributed."""
    op.execute(
        """
        CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            RAISE EXCEPTION '% on %.% is refused: its rows are history',
                TG_OP, TG_TABLE_SCHEMA, TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
        END $$"""
    )
    op.execute(
        """
        CREATE FUNCTION refuse_change_but_erasure() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF TG_OP = 'UPDATE' AND NEW.attributes IS NULL
                AND to_jsonb(NEW) - 'attributes' = to_jsonb(OLD) - 'attributes'
            THEN
                RETURN NEW;
            END IF;
            RAISE EXCEPTION '% on %.% is refused: only attributes may be erased',
                TG_OP, TG_TABLE_SCHEMA, TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
        END $$"""
    )
    for table, function in (
        ("transfers", "refuse_change"),
        ("audit_log", "refuse_change"),
        ("tree_steps", "refuse_change"),
        ("actions", "refuse_change_but_erasure"),
    ):
        op.execute(
            f"CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE ON {table}"
            f" FOR EACH ROW EXECUTE FUNCTION {function}()"
        )
        op.execute(
            f"CREATE TRIGGER {table}_no_truncate BEFORE TRUNCATE ON {table}"
            " FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
        )


def downgrade() -> None:
    op.execute("SELECT set_config('citus.multi_shard_modify_mode', 'sequential', true)")
    op.drop_index(op.f("ix_plot_evidence_plot_id"), table_name="plot_evidence")
    op.drop_table("plot_evidence")
    op.drop_index(op.f("ix_plots_project_id"), table_name="plots")
    op.drop_table("plots")
    op.drop_index(op.f("ix_trees_project_id_status_pledged_at"), table_name="trees")
    op.drop_index(op.f("ix_trees_plot_id_status"), table_name="trees")
    op.drop_index(op.f("ix_trees_participant_id_pledge_id"), table_name="trees")
    op.drop_table("trees")
    op.drop_table("tree_steps")
    op.drop_table("tree_numbers")
    op.drop_index(
        op.f("ix_transfers_participant_id"),
        table_name="transfers",
        postgresql_where=sa.text("cause = 'adjust'"),
    )
    op.drop_index(op.f("ix_transfers_at"), table_name="transfers", postgresql_using="brin")
    op.drop_table("transfers")
    op.drop_table("takes")
    op.drop_table("stock")
    op.drop_table("rulebooks")
    op.drop_table("rulebook_activations")
    op.drop_table("relay_lanes")
    op.drop_table("projects")
    op.drop_table("pledges")
    op.drop_table("partners")
    op.drop_index(
        op.f("ix_partner_events_partner_id_received_at"),
        table_name="partner_events",
        postgresql_where="state = 'parked'",
    )
    op.drop_table("partner_events")
    op.drop_index(op.f("ix_participants_display_name"), table_name="participants")
    op.drop_table("participants")
    op.drop_index(op.f("ix_outbox_lane_position"), table_name="outbox")
    op.drop_index(
        op.f("ix_outbox_lane_id"), table_name="outbox", postgresql_where="position IS NULL"
    )
    op.drop_table("outbox")
    op.drop_index(op.f("ix_identities_participant_id"), table_name="identities")
    op.drop_table("identities")
    op.drop_index(op.f("ix_idempotency_keys_created_at"), table_name="idempotency_keys")
    op.drop_table("idempotency_keys")
    op.drop_index(
        op.f("ix_erasures_erased_at"),
        table_name="erasures",
        postgresql_where="finished_at IS NULL",
    )
    op.drop_table("erasures")
    op.drop_table("development_clock")
    op.drop_index(op.f("ix_counters_ends_on"), table_name="counters")
    op.drop_table("counters")
    op.drop_table("claims")
    op.drop_table("campaign_budgets")
    op.drop_index(op.f("ix_bubbles_expires_at"), table_name="bubbles")
    op.drop_table("bubbles")
    op.drop_table("books")
    op.drop_table("audit_log")
    op.drop_table("audit_head")
    op.drop_table("active_rulebook")
    op.drop_index(op.f("ix_actions_recorded_at"), table_name="actions", postgresql_using="brin")
    op.drop_index(op.f("ix_actions_participant_id_occurred_at"), table_name="actions")
    op.drop_table("actions")
    op.execute("DROP FUNCTION refuse_change_but_erasure()")
    op.execute("DROP FUNCTION refuse_change()")
