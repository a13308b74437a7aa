"""The command line of a benchmark: an option for each of its sizes, which say what they are."""

import argparse
from collections.abc import Sequence
from typing import Any


def counts(text: str) -> list[int]:
    """An option of several numbers."""
    return [int(part) for part in text.split(",")]


def words(text: str) -> list[str]:
    """An option of several names."""
    return text.split(",")


def options(
    docstring: str | None, **sizes: float | Sequence[int] | Sequence[str]
) -> argparse.Namespace:
    """What was asked for; these sizes unless other ones were."""
    parser = argparse.ArgumentParser(description=(docstring or "").partition("\n")[0])
    for name, size in sizes.items():
        kind: Any = type(size)
        if isinstance(size, Sequence):
            kind = words if isinstance(size[0], str) else counts
        parser.add_argument(f"--{name}", type=kind, default=size)
    return parser.parse_args()
