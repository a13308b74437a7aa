"""Bytes of a request become values, values become answers, and who calls is known."""
