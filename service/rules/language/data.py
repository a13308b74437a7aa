"""The words that stand in data beside this code, for whoever edits them."""

from pathlib import Path
from typing import TypeVar

import msgspec

Content = TypeVar("Content")


def data_of(name: str, kind: type[Content]) -> Content:
    """What a file of this folder holds."""
    return msgspec.yaml.decode(Path(__file__).with_name(name).read_bytes(), type=kind)
