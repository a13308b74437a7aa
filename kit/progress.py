"""A bar of pieces that are sent: how many, how fast, how long still."""

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text


class _Rate(ProgressColumn):
    """Pieces a second, since the beginning; those of `before` were done by another run."""

    def render(self, task: Task) -> Text:
        done = task.completed - task.fields.get("before", 0)
        return Text(f"{done / task.elapsed:,.0f}/s" if task.elapsed else "")


def progress_bar(console: Console) -> Progress:
    """A bar on this console; it draws nothing where nobody watches."""
    return Progress(
        TextColumn("{task.description:10}"),
        BarColumn(),
        MofNCompleteColumn(),
        _Rate(),
        TimeRemainingColumn(),
        console=console,
    )
