"""What the tests of privacy share with those of participants."""

from tests.participants.conftest import alice, client, database, operator, settings

__all__ = ["alice", "client", "database", "operator", "settings"]
