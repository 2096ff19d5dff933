"""The application that commands belong to, and how groups of commands are made."""

from importlib.metadata import version

from cyclopts import App, Parameter

EXIT_DIFFERENT = 1

app = App(
    name="qsim",
    help="What a number format costs: in accuracy, in silicon, in time.",
    version=lambda: version("qsim-codesign"),
    # sim.cli.run handles Ctrl-C.
    suppress_keyboard_interrupt=False,
    # Flags and lists have no negative options such as --no-spread or --empty-format.
    default_parameter=Parameter(negative=()),
)


def make_group(name: str, help: str) -> App:
    """Return a group of commands; without a command it runs its ``list``."""
    return App(name=name, help=help)
