"""Structs become one immutable rulebook, or every problem of all files in one go."""
