"""``qsim merge``."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from rich.console import Console

from sim.cli.output import print_line
from sim.errors import UserError


def merge(
    *directories: Path, out: Annotated[Path, Parameter(show_default=False)] = Path("qsim-merged")
) -> None:
    """Join the results of several sweeps, such as those of qsim sweep --shard, and report them.

    The same point in two of them must have the same results, apart from the simulation's speed.

    Parameters
    ----------
    directories
        Directories that qsim sweep wrote.
    out
        Directory of the joined results.sqlite and the report; points that are there stay.
    """
    if not directories:
        raise UserError("qsim merge needs the directories of sweeps, such as shard-1 shard-2")
    from sim.report import print_table, write_report
    from sim.sweep.merge import merge as join

    merged = join(directories, out)
    points = f"{merged.points} point{'s' if merged.points != 1 else ''}"
    print_line(f"{points} of {merged.stores} stores in {out / 'results.sqlite'}")
    if merged.outcome is None:
        print_line(
            "No report: they are not of one model and one sample of text; for the report of one, "
            f"run its qsim sweep with --out {out}"
        )
        return
    write_report(merged.outcome.results, out, provenance=merged.outcome.provenance)
    console = Console()
    console.print()
    print_table(merged.outcome.results, console)
    print_line(f"\nReport: {out / 'report.html'}")
