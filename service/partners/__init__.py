"""Organisations that post verified events."""
