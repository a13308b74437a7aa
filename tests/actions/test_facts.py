"""The facts of an action are the same before and after the database kept them."""

import re
from datetime import UTC, datetime

from hypothesis import given, settings
from hypothesis import strategies as st

from service.actions.facts import canonical_facts
from service.audit.audit import audit
from service.platform.canonical import as_stored
from service.rules.compile.draft import compile_rulebook
from tests.actions.conftest import RULES
from tests.actions.reports import NOW, walk
from tests.orders import settle

AT = datetime(2026, 11, 21, 4, 0, 0, 123456, tzinfo=UTC)
VALUES = st.one_of(
    st.booleans(),
    st.integers(-(2**63), 2**63),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from([-0.0, 1e16, 1e300, 9.999999999999999e15, 5e-324, 0.1]),
    st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20),
)


@settings(max_examples=150)
@given(attributes=st.dictionaries(st.sampled_from("abcdef"), VALUES, min_size=6, max_size=6))
async def test_facts_survive_being_stored(database, attributes):
    kept = as_stored(attributes)
    back = await database.pool.fetchval("SELECT $1::jsonb", kept)
    assert canonical_facts("a", AT, "device", back) == canonical_facts("a", AT, "device", kept)


async def test_what_a_limit_counts_by_stands_in_no_award(database, person):
    """An award outlives erasure; the attribute's value that its limit counts by must not."""
    draft = compile_rulebook({"a.yaml": RULES.replace("grams: 296", "count: 1, by: steps")}, 1)
    assert not draft.errors
    somebody = await person()
    reports = [walk(somebody, steps) for steps in (4321, 4321, 4322)]
    outcomes = await settle(database, reports, rulebook=draft.rulebook, now=NOW, secret=b"secret")
    assert [outcomes[report].action.energy_g for report in reports] == [86, 0, 86]
    kept = await database.pool.fetch(
        "SELECT awards::text FROM actions WHERE participant_id = $1"
        " UNION ALL SELECT to_jsonb(c)::text FROM counters c WHERE participant_id = $1",
        somebody,
    )
    assert len(kept) == 6  # with the sums of the day
    # A value of its own, not four digits inside an identifier or a digest.
    assert not any(re.search(r"(?<![\w.-])432[12](?![\w.-])", row[0]) for row in kept)
    assert (await audit(database, mode="full", now=NOW, participant_id=somebody)).found.keys() <= {
        "people"
    }


def test_no_value_changes_by_being_made_as_stored():
    attributes = {"a": -0.0, "b": 2.024325807063675e16, "c": 5.6, "d": "x", "e": True, "f": 7}
    kept = as_stored(attributes)
    assert kept | {"b": float(kept["b"])} == attributes
