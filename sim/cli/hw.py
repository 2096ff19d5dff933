"""``qsim hw``."""

from pathlib import Path

from rich.console import Console

from sim.cli.app import make_group
from sim.cli.output import print_line, print_wide
from sim.options import Count, Flag

hw = make_group("hw", "List the machines, show one with its sources, or measure this one.")


@hw.default
@hw.command(name="list")
def list_hw() -> None:
    """List the built-in machines and accelerators."""
    from sim.deployment.hardware import machines_table

    print_wide(machines_table())


@hw.command
def show(name: str, *, toml: Flag = False) -> None:
    """Show every number of a machine or an accelerator with its source.

    Parameters
    ----------
    name
        Name of a machine, as listed by 'qsim hw', or its .toml file.
    toml
        Print its file with the meaning and unit of every key, to start a file of your own from.
    """
    from sim.deployment.hardware import device_table, device_toml

    if toml:
        print(device_toml(name), end="")
    else:
        print_wide(device_table(name))


@hw.command
def measure(*, out: Path = Path("this-machine.toml"), repetitions: Count = 7) -> None:
    """Measure this machine's matrix products and read bandwidth, and write its file.

    Parameters
    ----------
    out
        File to write; name it with --hw to predict for this machine.
    repetitions
        Repetitions of each measurement; the best counts, and the scatter is printed.
    """
    from hw.measure import measure as measured
    from sim.deployment.hardware import check_machine_path, measurement_table, write_machine

    check_machine_path(out)
    with Console(stderr=True).status("measuring matrix products and read bandwidth"):
        found = measured(repetitions=repetitions)
    write_machine(found, out)
    print_wide(measurement_table(found))
    print_line(f"\n{out}")
