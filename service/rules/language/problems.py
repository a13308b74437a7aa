"""What is wrong with a set of files, each fault at the place of the very token."""

from pathlib import PurePath
from typing import Literal, NamedTuple

ERRORS_MAX = 100

_NAME_SHOWN_MAX = 300
_MESSAGE_MAX = 2_000

Step = str | int
Severity = Literal["error", "warning"]


class Problem(NamedTuple):
    """One fault of a rule set, at the line and column (from 1) of the very token."""

    file: str
    line: int
    column: int
    path: str
    message: str
    severity: Severity = "error"

    def __str__(self) -> str:
        """Say it in one line, as compilers do, whatever a key or name consists of."""
        place = f"{self.file}:{self.line}:{self.column}"
        return f"{place}: {self.severity}: {_on_one_line(self.message, _MESSAGE_MAX)}"


class EnoughError(Exception):
    """There are more errors than anybody reads."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__(str(problems[-1]))
        self.problems = [*sorted(problems[:-1], key=place_of), problems[-1]]


class Problems(list[Problem]):
    """What is wrong with a set of files. Checking ends when there is more than anybody reads."""

    def __init__(self) -> None:
        super().__init__()
        self._errors = 0

    def append(self, problem: Problem) -> None:
        """Note one more. Raises EnoughError."""
        self._errors += problem.severity == "error"
        if self._errors > ERRORS_MAX:
            message = f"after {ERRORS_MAX} errors nothing further is checked"
            super().append(problem._replace(message=message))
            raise EnoughError(self)
        super().append(problem)


def path_text(path: tuple[Step, ...]) -> str:
    """Write a path as people do: rules[0].limits[1].per."""
    parts = [f"[{step}]" if isinstance(step, int) else f".{step}" for step in path]
    return "".join(parts).removeprefix(".")


def place_of(problem: Problem) -> tuple[str, int, int]:
    """Where it is, to tell problems in the order of their places."""
    return problem[:3]


class LoadError(Exception):
    """A file that cannot be read any further."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(str(problem))
        self.problem = problem


def of_file(name: str | PurePath, message: str, severity: Severity = "error") -> Problem:
    """What is wrong with a file, or a folder, as a whole."""
    return Problem(shown_name(str(name)), 1, 1, "", message, severity)


def shown_name(name: str) -> str:
    """Write a file's name so that it stays on its line, whatever somebody called the file."""
    return _on_one_line(name, _NAME_SHOWN_MAX)


def _on_one_line(text: str, length: int) -> str:
    text = text if len(text) <= length else f"{text[: length - 3]}..."
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in text
    )
