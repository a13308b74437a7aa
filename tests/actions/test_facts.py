"""The facts of an action are the same before and after the database kept them."""

from datetime import UTC, datetime

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.actions.facts import canonical_facts, storable

AT = datetime(2026, 11, 21, 4, 0, 0, 123456, tzinfo=UTC)
VALUES = st.one_of(
    st.booleans(),
    st.integers(-(2**63), 2**63),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from([-0.0, 1e16, 1e300, 9.999999999999999e15, 5e-324, 0.1]),
    st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20),
)


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(attributes=st.dictionaries(st.sampled_from("abcdef"), VALUES, min_size=6, max_size=6))
async def test_facts_survive_being_stored(database, attributes):
    kept = storable(attributes)
    back = await database.pool.fetchval("SELECT $1::jsonb", kept)
    assert canonical_facts("a", AT, "device", back) == canonical_facts("a", AT, "device", kept)


def test_no_value_changes_by_being_made_storable():
    attributes = {"a": -0.0, "b": 1e300, "c": 5.6, "d": "x", "e": True, "f": 7}
    assert storable(attributes) == attributes
