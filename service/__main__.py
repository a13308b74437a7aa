"""The `saxaul` command."""

import click


@click.group()
def main() -> None:
    """Saxaul, a backend for personal carbon points."""


if __name__ == "__main__":
    main()
