"""Operators' YAML rules: loaded, checked, compiled once, evaluated without I/O."""
