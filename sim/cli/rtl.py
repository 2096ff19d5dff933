"""``qsim rtl``."""

import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from rich.console import Console

from sim.cli.app import EXIT_DIFFERENT, make_group
from sim.cli.output import print_json, print_line, print_wide
from sim.errors import UserError
from sim.hardware.options import CostOptions, EmitOptions, LayerOptions
from sim.options import Count, Flag

if TYPE_CHECKING:
    from sim.hardware.command import Costs

LAYER, COST = LayerOptions(), CostOptions()

rtl = make_group("rtl", "List the processing elements (PEs), show, emit, verify or cost them.")


@rtl.default
@rtl.command(name="list")
def list_rtl() -> None:
    """List the processing elements: formats, lanes, width of a result and source."""
    from rtl.catalog import PES
    from sim.hardware.tables import pes_table

    print_wide(pes_table(list(PES.values())))


@rtl.command
def show(name: str) -> None:
    """Show a processing element: operands, latency, units, stored cost; or the PEs of a format.

    Parameters
    ----------
    name
        Name of a PE, as listed by 'qsim rtl', or of a format, as listed by 'qsim formats'.
    """
    from sim.hardware.show import pe_text

    print_wide(pe_text(name))


@rtl.command
def emit(pe: str, *, options: EmitOptions) -> None:
    """Write the Verilog of a processing element.

    Parameters
    ----------
    pe
        Name, as listed by 'qsim rtl'.
    """
    from sim.hardware.command import emit as write

    print_line(str(write(pe, options)))


@rtl.command
def verify(*pes: str, dots: Count | None = None, workers: Count | None = None) -> None:
    """Verify processing elements: compiled code, a simulator, and a proof; exit 1 on a failure.

    Parameters
    ----------
    pes
        Names, as listed by 'qsim rtl'; all if none is given.
    dots
        Random dot products in compiled code; ten million if not given.
    workers
        Processes that verify PEs at the same time; one per core if not given.
    """
    from sim.hardware.command import verdicts
    from sim.hardware.tables import verdict_line

    is_good, count = True, 0
    for verdict in verdicts(pes, dots=dots, workers=workers):
        print(verdict_line(verdict), flush=True)
        is_good, count = is_good and verdict.is_good, count + 1
    if not is_good or not count:
        sys.exit(EXIT_DIFFERENT)


@rtl.command(name="run-layer")
def run_layer(
    pe: str, model: str = "embedded", *, options: LayerOptions = LAYER, json: Flag = False
) -> None:
    """Run a linear layer of a model through a compiled tile of PEs; exit 1 on a difference.

    Parameters
    ----------
    pe
        Name, as listed by 'qsim rtl'.
    model
        Model of 'qsim models', a directory, a .gguf file or a hub id.
    json
        Print one JSON object instead of a sentence.
    """
    from sim.hardware.command import find_pes
    from sim.hardware.run_layer import run_layer as run
    from sim.hardware.tables import layer_line

    (found,) = find_pes([pe])
    result = run(
        model,
        options.layer,
        found,
        tokens=options.tokens,
        lanes=options.lanes,
        tile=options.tile,
        codes=options.codes,
    )
    if json:
        print_json([asdict(result)])
    else:
        print(layer_line(result))
    if not result.is_equal:
        sys.exit(EXIT_DIFFERENT)


@rtl.command
def cost(*pes: str, options: CostOptions = COST, json: Flag = False) -> None:
    """Print what processing elements cost in area, delay and energy, or on an FPGA.

    Parameters
    ----------
    pes
        Names, as listed by 'qsim rtl'; all if none is given.
    json
        Print one JSON object per processing element.
    """
    from sim.hardware.tables import costs_table, fpga_table

    found = _costs(pes, options)
    if json:
        print_json(asdict(record) for record in found.records)
    elif options.fpga is not None:
        print_wide(fpga_table(found, options.fpga))
    else:
        is_own = options.operands is not None
        print_wide(costs_table(found.records, found.stale, has_own_operands=is_own))


def _costs(pes: tuple[str, ...], options: CostOptions) -> "Costs":
    """Return stored or new costs; print the PE being synthesized on stderr."""
    from sim.hardware.command import costs
    from sim.hardware.fpga import fpga_records

    others = {"--liberty": options.liberty, "--operands": options.operands}
    given = [name for name, path in others.items() if path is not None]
    if options.fpga is not None and given:
        raise UserError(f"--fpga uses no cell library and no operands; drop {' and '.join(given)}")
    with Console(stderr=True).status("synthesizing") as status:

        def tell(names: Sequence[str]) -> None:
            status.update(f"synthesizing {', '.join(names)}")

        if options.fpga is not None:
            return fpga_records(
                pes,
                options.fpga,
                fresh=options.all,
                tell=tell,
                out=options.out,
                workers=options.workers,
            )
        return costs(
            pes,
            liberty=options.liberty,
            operands=options.operands,
            fresh=options.all,
            tell=tell,
            out=options.out,
            workers=options.workers,
        )
