"""What the tests of development mode share."""

from tests.module_app import client, settings

__all__ = ["client", "settings"]
