"""Write the report of ``qsim roofline``: its figures and one page."""

from collections.abc import Sequence
from pathlib import Path

from sim.deployment.cells import cell
from sim.deployment.figures import figures
from sim.deployment.page import Choices, page
from sim.deployment.scenario import Scenario
from sim.errors import UserError, os_error_text
from sim.provenance import versions
from sim.report.style import png, svg
from sim.report.write import replace_files

ASSUMPTIONS = (
    "Expected times use shares of the peaks fitted on a few published runs.",
    "Bounds use the peaks and the bytes that have to be read; no run is faster.",
    "Bounds of CPUs count efficiency cores and leave out bytes that the last-level cache holds.",
    "A request fits if weights, KV cache and the largest activations fit the whole memory.",
    "Weights include scales, zero points and codebooks; embedding rows are read one by one.",
    "Attention is causal, and fused unless --unfused-attention is given.",
    "Query heads that share keys and values read them once.",
    "The head computes one row for each sequence. Energy covers the machine, not its cooling.",
)


def write_report(scenarios: Sequence[Scenario], out: Path, command: str) -> Path:
    """Write figures and the page into ``out``, all or none."""
    if out.exists() and not out.is_dir():
        raise UserError(f"--out {out} is a file; name a directory")
    files: dict[str, bytes] = {}
    for name, figure in figures(scenarios).items():
        files[f"{name}.svg"] = svg(figure).encode()
        files[f"{name}.png"] = png(figure)
    files["report.html"] = _page(scenarios, command).encode()
    try:
        replace_files(out, files)
    except OSError as error:
        raise UserError(os_error_text(error, out)) from None
    return out / "report.html"


def _page(scenarios: Sequence[Scenario], command: str) -> str:
    first = next(one for one in scenarios if one.fits)
    request = first.request
    choices = Choices(
        models=list(dict.fromkeys(one.model for one in scenarios)),
        machines=list(dict.fromkeys(one.machine for one in scenarios)),
        formats=list(dict.fromkeys(one.format for one in scenarios)),
        start=(first.model, first.machine, first.format),
    )
    cells = {(one.model, one.machine, one.format): cell(one) for one in scenarios}
    sizes = (
        f"batch {request.batch}, prompts of {request.prompt}, answers of {request.output} tokens"
    )
    return page(
        choices,
        cells,
        heading="Deployment",
        assumptions=[f"Requests: {sizes}.", *ASSUMPTIONS],
        provenance={"command": command, **versions("qsim-codesign", "numpy")},
    )
