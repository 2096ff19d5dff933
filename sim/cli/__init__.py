"""The ``qsim`` command: :func:`main` here, one module for each group of commands."""


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; exit with 2 on bad input and 130 on Ctrl-C.

    ``arguments`` are those of the process if not given. Nothing is imported before the handlers of
    :mod:`sim.cli.run` stand, so that an interrupt is answered from the start.
    """
    from sim.cli.run import run

    run(arguments)
