"""Sentences that remember of what they are made, so that they can be said in another language."""

from collections.abc import Mapping
from typing import Self


class Told(str):
    """An English sentence made of a template and facts, which may be such sentences again.

    It is plain text wherever nobody asks for more.
    """

    __slots__ = ("facts", "template")
    facts: Mapping[str, object]
    template: str

    def __new__(cls, template: str, /, **facts: object) -> Self:
        """Fill in the facts; without any the template is the sentence, whatever it holds."""
        told = super().__new__(cls, template.format(**facts) if facts else template)
        told.template, told.facts = template, facts
        return told
