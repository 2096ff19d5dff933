"""Print results: tables as wide as the terminal, wider into a file or a pipe, or JSON."""

import json
import sys
from collections.abc import Iterable
from typing import Any

from rich.console import Console

#: Columns of a table that goes into a file or a pipe: no cell is cut there.
FILE_WIDTH = 400


def print_json(records: Iterable[Any]) -> None:
    """Print one JSON object a line."""
    for one in records:
        print(json.dumps(one))


def print_wide(text: Any) -> None:
    """Print a table or a text."""
    console().print(text, highlight=False)


def print_line(text: str) -> None:
    """Print a text such as a path in one line, however long."""
    Console().print(text, soft_wrap=True, highlight=False, markup=False)


def console() -> Console:
    """Return a console of standard output."""
    return Console(width=None if sys.stdout.isatty() else FILE_WIDTH)
