"""LLM-FP4's calibrated search of formats and scales."""

from dataclasses import dataclass
from typing import ClassVar

from numerics import QuantizedTensor, Scheme
from numerics.solvers.format_search import check_search, search_format
from sim.calibration.statistics import Statistics
from sim.methods.step import Solver, Weight


@dataclass(frozen=True, slots=True, kw_only=True)
class Fpq(Solver):
    """Choose the format of each matrix and the scale of each row, then round to nearest."""

    name: ClassVar[str] = "fpq"
    summary: ClassVar[str] = "choose a matrix's format and its rows' scales by the output error"
    source: ClassVar[str] = (
        "Liu et al., arXiv:2310.16836, section 3; all pairs of format and scale for its rounds, "
        "and scales in powers of 2^(1/32) in place of the paper's grid of the exponent bias"
    )
    cost: ClassVar[str] = (
        "two forward passes over the calibration tokens, and out * in^2 multiply-adds for each "
        "format and scale (291 for llm-fp4)"
    )
    options: ClassVar[dict[str, str]] = {
        "stride": "every n-th scale of the format's own search is tried"
    }
    is_calibrated: ClassVar[bool] = True

    stride: int = 1

    def __post_init__(self) -> None:
        if not 1 <= self.stride <= 32:
            raise ValueError(f"stride of fpq is {self.stride}; it can be 1 to 32")

    def check(self, scheme: Scheme, shape: tuple[int, ...]) -> None:
        """Raise ValueError for schemes without candidate formats."""
        check_search(scheme)

    def solve(
        self, weight: Weight, scheme: Scheme, statistics: Statistics | None
    ) -> QuantizedTensor:
        """Return the nearest codes in the format and under the scales chosen."""
        assert statistics is not None
        return search_format(weight, statistics.hessian, scheme, stride=self.stride)
