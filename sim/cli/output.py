"""Print results: tables as wide as the terminal, wider into a file or a pipe, or JSON."""

import io
import json
import sys
from collections.abc import Iterable
from typing import Any

from rich.console import Console

from sim.errors import writing

OUTPUT = "standard output"
#: Columns of a table that goes into a file or a pipe: no cell is cut there.
FILE_WIDTH = 400


def print_json(records: Iterable[Any]) -> None:
    """Print one JSON object a line."""
    with writing(OUTPUT):
        for one in records:
            print(json.dumps(one))


def print_wide(text: Any) -> None:
    """Print a table or a text; into a file or a pipe, whole rows without spaces at their ends."""
    if sys.stdout.isatty():
        Console().print(text, highlight=False)
        return
    console = Console(width=FILE_WIDTH, file=io.StringIO())
    console.print(text, highlight=False)
    with writing(OUTPUT):
        for line in console.file.getvalue().splitlines():  # type: ignore[attr-defined]
            print(line.rstrip())


def print_line(text: str) -> None:
    """Print a text such as a path in one line, however long."""
    Console().print(text, soft_wrap=True, highlight=False, markup=False)
