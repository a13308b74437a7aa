"""A set of rule files as it is written: all sections of its files together, beside its rulebook."""

import re
from collections.abc import Mapping

from service.rules.cel.expression import Scope
from service.rules.compile.draft import Draft, compile_rulebook
from service.rules.language.load import load
from service.rules.language.problems import Problem
from service.rules.language.shape import shape_file


class BrokenSetError(Exception):
    """One of the two sets has errors, and so no meaning that could be compared."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__(str(problems[0]))
        self.problems = problems


class RuleSet:
    """The sections of all files together, by id."""

    def __init__(self, files: Mapping[str, str]) -> None:
        """Read them. Raises BrokenSetError."""
        self.draft: Draft = compile_rulebook(files)
        if self.draft.rulebook is None:
            raise BrokenSetError(self.draft.errors)
        self.rulebook = self.draft.rulebook
        nodes, problems = load(files)
        shapes = [shape_file(name, root, problems) for name, root in sorted(nodes.items())]
        self.program = next(shape.program for shape in shapes if shape.program is not None)
        self.factors = {name: item for shape in shapes for name, item in shape.factors.items()}
        self.types = {name: item for shape in shapes for name, item in shape.action_types.items()}
        self.rules = {item.id: item for shape in shapes for item in shape.rules}
        self.campaigns = {item.id: item for shape in shapes for item in shape.campaigns}
        self.badges = {item.id: item for shape in shapes for item in shape.badges}

    def users_of(self, factor: str) -> list[str]:
        """The rules and types whose expressions name a factor."""
        named = re.compile(rf"\bfactors\s*\.\s*{factor}\b")
        users = [
            rule.id
            for rule in self.rules.values()
            if any(named.search(str(text)) for text in (rule.when, rule.saves, rule.earns))
        ]
        users += [name for name, kind in self.types.items() if named.search(str(kind.plausible))]
        return sorted(users)

    def scope_of(self, action: str) -> tuple[Scope, frozenset[str]] | None:
        """Where expressions of this type are understood, all its attributes being there."""
        kind = self.rulebook.action_types.get(action)
        return None if kind is None else (kind.scope, frozenset(kind.attributes))
