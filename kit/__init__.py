"""The other side of the wire: what only speaks to the service, as partners and apps do."""
