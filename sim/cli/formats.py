"""``qsim formats``."""

import sys
from pathlib import Path

from sim.cli.app import EXIT_DIFFERENT, make_group
from sim.cli.output import print_wide

formats = make_group("formats", "List the number formats, show one, or explain a rounding.")


@formats.default
@formats.command(name="list")
def list_formats() -> None:
    """List the named formats: bits, values, range, bits per weight and source.

    Bits per weight are those of a 4096 x 4096 matrix, side data included.
    """
    from sim.formats.command import all_formats

    print_wide(all_formats())


@formats.command
def show(name: str, *, out: Path | None = None) -> None:
    """Show how a format stores a matrix, its values, their midpoints and where ties go.

    Parameters
    ----------
    name
        Name of a format, as listed by 'qsim formats', or of an element such as fp4_e2m1.
    out
        Draw the values into this .png or .svg file too.
    """
    from sim.formats.command import format_text

    print_wide(format_text(name, out=out))


@formats.command
def explain(name: str, number: float, /, *others: float) -> None:
    """Say what a number becomes in a format, and why; or some that are quantized together.

    Parameters
    ----------
    name
        Name of a format, as listed by 'qsim formats', or of an element such as fp4_e2m1.
    number
        The number, in units of the scale.
    others
        More numbers of its row: all are quantized together, with the scale that they get.
    """
    from sim.formats.lookup import find_formats, find_scheme

    if others:
        from sim.formats.group import group_text

        print_wide(group_text(find_scheme(name), (number, *others)))
        return
    from sim.formats.tables import explain_text

    print_wide(explain_text(find_formats(name), number))


@formats.command
def check(directory: Path) -> None:
    """Compare another implementation's codes with the conformance pack; exit 1 on a difference.

    Parameters
    ----------
    directory
        Holds formats/NAME.npz and schemes/NAME.npz, laid out as numerics.conformance describes.
    """
    from sim.formats.conformance import check as compare

    table, is_equal = compare(directory)
    print_wide(table)
    if not is_equal:
        sys.exit(EXIT_DIFFERENT)
