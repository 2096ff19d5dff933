"""The ``qsim`` command: :func:`main` here, one module for each group of commands."""

from sim.cli.interrupts import Interrupts


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; exit with 2 on bad input and 130 on Ctrl-C.

    ``arguments`` are those of the process if not given. Nothing is imported before Ctrl-C is
    handled.
    """
    with Interrupts() as interrupts:
        from sim.cli.run import run

        run(arguments, interrupts)
