"""Versions of the rules with a database: published, followed by every process, asked about."""
