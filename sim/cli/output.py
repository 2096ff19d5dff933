"""Output of results: tables as wide as the terminal (wider in a file or pipe), or JSON."""

import io
import json
import sys
from collections.abc import Iterable
from typing import Any

from rich.console import Console

from sim.errors import writing

OUTPUT = "standard output"
#: Width in characters of tables in a file or a pipe, where no cell is cut.
FILE_WIDTH = 400


def print_json(records: Iterable[Any]) -> None:
    """Print one JSON object per line."""
    with writing(OUTPUT):
        for one in records:
            print(json.dumps(one))


def print_wide(text: Any) -> None:
    """Print a table or a text; in a file or a pipe, whole rows without trailing spaces."""
    if sys.stdout.isatty():
        Console().print(text, highlight=False)
        return
    console = Console(width=FILE_WIDTH, file=io.StringIO())
    console.print(text, highlight=False)
    with writing(OUTPUT):
        for line in console.file.getvalue().splitlines():  # type: ignore[attr-defined]
            print(line.rstrip())


def print_line(text: str) -> None:
    """Print a text such as a path in one line, without wrapping."""
    Console().print(text, soft_wrap=True, highlight=False, markup=False)
