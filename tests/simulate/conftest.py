"""What the tests of simulations share with those of actions."""

from tests.actions.conftest import lossy_proxy, person, record, rulebook, statements, writer

__all__ = ["lossy_proxy", "person", "record", "rulebook", "statements", "writer"]
