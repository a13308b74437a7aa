"""The `saxaul` command: a table of what every part of the program adds to it.

A command's module is loaded when the command is asked for: loading all of them takes longer than
most of them run.
"""

import service.run.interrupt

# isort: split
import gc
import sys
from importlib import import_module

import click

from service import VERSION
from service.platform.settings import unknown_variables
from service.platform.terminal import commands_of

# In which module each command stands.
COMMANDS = {
    "api": "service.run.serve",
    "config": "service.run.configuration",
    "demo": "kit.story.commands",
    "dev": "service.development.commands",
    "keys": "service.partners.commands",
    "leaderboards": "service.leaderboards.commands",
    "ledger": "service.audit.commands",
    "migrate": "service.run.commands",
    "openapi": "service.run.commands_openapi",
    "participants": "service.privacy.commands",
    "partner": "kit.partner.commands",
    "replay": "kit.replay.commands",
    "reset": "service.run.commands",
    "rules": "service.run.commands_rules",
    "run": "service.run.commands",
    "worker": "service.run.worker",
}
# What a noun of a higher rank adds to a command of another.
ADDED = {"rules": "service.simulate.commands"}


class _Commands(click.Group):
    """Says in plain lines what a person can mend; every other exception stays what it is."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click calls it so
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in COMMANDS:
            return None
        service.run.interrupt.be_quiet()
        # What is loaded stays: looking through it for garbage took half of a short command.
        gc.disable()
        commands = commands_of(import_module(COMMANDS[cmd_name]))
        found = next(command for command in commands if command.name == cmd_name)
        if cmd_name in ADDED and isinstance(found, click.Group):
            for command in commands_of(import_module(ADDED[cmd_name])):
                found.add_command(command)
        gc.freeze()
        gc.enable()
        service.run.interrupt.be_heard()
        return found

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, click.Abort, BrokenPipeError):
            raise  # click ends quietly, with code 1, what nobody reads any more
        except Exception as error:
            # Nothing is lost: what no plain line is known for goes on as it is, with its traceback.
            line: str | None = import_module("service.run.command_faults").plain_line(error)
            if line is None:
                raise
            click.echo(line, err=True)
        sys.exit(1)


@click.group(cls=_Commands)
@click.version_option(VERSION, prog_name="saxaul")
def main() -> None:
    """Saxaul, a backend for personal carbon points."""
    for line in unknown_variables().values():
        click.echo(line, err=True)


service.run.interrupt.be_heard()

if __name__ == "__main__":
    main(prog_name="saxaul")
