"""Boards in Redis: a fold of the outbox, rebuildable from PostgreSQL at any time."""
