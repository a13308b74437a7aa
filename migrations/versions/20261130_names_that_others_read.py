"""Display names are Nicknames of RFC 8266: what is one is kept in its normal form.

A name that nobody could read, or that turns its letters round, gives way to a generated one, which
its person may change. Texts of operators stay as they were written.

Revision: 0011, after 0010.
"""

import re
import secrets
import unicodedata

import sqlalchemy as sa
from alembic import op
from precis_i18n import get_profile

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

_PEOPLE = 5_000
_NICKNAME = get_profile("NicknameCasePreserved")
# What is blank, or stands for an object, although its category says that it is seen.
_BLANK = re.compile("[\u2800\ufffc\U00013441\U00013442\U0001d159]")
_CHECK = "ck_participants_display_name_is_normal"

# Names of letters, digits and single spaces are normal already: most are not even read.
_ODD = sa.text(
    "SELECT participant_id, display_name FROM participants"
    " WHERE participant_id > :after AND display_name !~ '^[A-Za-z0-9]+( [A-Za-z0-9]+)*$'"
    " ORDER BY participant_id LIMIT :people"
)
_CHANGE = sa.text(
    "UPDATE participants p SET display_name = n.name"
    " FROM unnest(CAST(:ids AS uuid[]), CAST(:names AS text[])) AS n (id, name)"
    " WHERE p.participant_id = n.id"
)


def upgrade() -> None:
    connection = op.get_bind()
    after = "00000000-0000-0000-0000-000000000000"
    while rows := connection.execute(_ODD, {"after": after, "people": _PEOPLE}).all():
        names = {person: _normal(name) for person, name in rows}
        changed = {person: names[person] for person, name in rows if name != names[person]}
        order = {"ids": list(changed), "names": list(changed.values())}
        connection.execute(_CHANGE, order)
        after = rows[-1][0]
    op.create_check_constraint(
        op.f(_CHECK),
        "participants",
        "display_name IS NFKC NORMALIZED AND display_name = btrim(display_name)",
    )


def downgrade() -> None:
    op.drop_constraint(op.f(_CHECK), "participants", type_="check")


def _normal(name: str) -> str:
    try:
        kept: str = _NICKNAME.enforce(name.replace("\ufe0f", ""))
    except UnicodeEncodeError:
        kept = ""
    is_seen = any(unicodedata.category(character)[0] in "LNPS" for character in kept)
    if is_seen and len(kept) <= 64 and not _BLANK.search(kept):
        return kept
    return f"Green Friend {secrets.randbelow(9_000) + 1_000}"
