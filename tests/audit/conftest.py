"""What the tests of the audit share with those of the ledger."""

from tests.ledger.conftest import alice, client, database, operator, settings

__all__ = ["alice", "client", "database", "operator", "settings"]
