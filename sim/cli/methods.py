"""``qsim methods``."""

from sim.cli.app import make_group
from sim.cli.output import print_wide

methods = make_group("methods", "List the methods that choose codes, or show one.")


@methods.default
@methods.command(name="list")
def list_methods() -> None:
    """List the methods: what each does, and whether it reads a calibration text."""
    from sim.methods.tables import all_methods

    print_wide(all_methods())


@methods.command
def show(name: str) -> None:
    """Show what a method does, its options with their defaults, and its source.

    Parameters
    ----------
    name
        Name of a method, as listed by 'qsim methods'.
    """
    from sim.methods.tables import method_table

    print_wide(method_table(name))
