"""E8P as a scheme: vectors of eight weights as 16-bit codes, with the residual stages of QuIP#."""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from numerics.codebooks.e8p import DIMENSION
from numerics.formats import FP16, SCALE_DTYPES
from numerics.schemes.scheme import Field, Scheme


class Stage(StrEnum):
    """A codebook of eight dimensions."""

    #: Codebook of 65536 points, 2 bits per weight.
    E8P = "e8p"
    #: Codebook of 256 points, 1 bit per weight.
    E81B = "e81b"


STAGE_BITS = {Stage.E8P: 16, Stage.E81B: 8}
#: Factor on the residual before a stage rounds it; QuIP#'s code, ``opt_resid_scale``.
RESIDUAL_SCALES = {Stage.E8P: 3.45, Stage.E81B: 2.04}
#: Root mean square of the first stage's inputs, by the last stage; QuIP#'s code, ``opt_scale``.
TARGET_RMS = {Stage.E8P: 1.03, Stage.E81B: 0.98}


@dataclass(frozen=True, slots=True, kw_only=True)
class E8P(Scheme, arrays="numerics.codebooks.e8p_arrays"):
    """Rows over their root mean square; vectors of eight weights as the nearest point per stage.

    ``value = (p_1 + (p_2 + p_3 / r_3) / r_2) * scale``, where ``p_i`` is the point of stage ``i``
    and ``r_i`` the factor in :data:`RESIDUAL_SCALES`. The scale of a row is its root mean square
    over that of :data:`TARGET_RMS`, as FP16. The inputs of a stage are first rounded to multiples
    of 2^-12 between -8 and 8; the point nearest to the rounded input is then found exactly. That
    rounding changes a squared error by less than one part in 10^5. Rows are padded with zeros to a
    multiple of eight.

    QuIP# has one scale for a matrix and rotates it, which needs one more FP16 number per column:
    ``2 + 16 (rows + columns) / (rows * columns)`` bits a weight with one stage.

    A row of zeros has scale 0. A row with a NaN or an infinity dequantizes to NaN; its codes are 0.
    """

    stages: tuple[Stage, ...] = (Stage.E8P,)

    def __post_init__(self) -> None:
        allowed = self.stages[:1] == (Stage.E8P,) and Stage.E81B not in self.stages[:-1]
        if not allowed or len(self.stages) > 3:
            given = ", ".join(self.stages) or "none"
            raise ValueError(f"E8P has 1 to 3 stages, only the last one e81b, not {given}")

    @property
    def name(self) -> str:
        """Name in the catalog: the number of E8P stages, and whether an E81B stage follows."""
        count = self.stages.count(Stage.E8P)
        last = "-e81b" if Stage.E81B in self.stages else ""
        return ("e8p" if count == 1 else f"e8p-{count}") + last

    @property
    def target_rms(self) -> float:
        """Root mean square of the first stage's inputs."""
        return TARGET_RMS[self.stages[-1]]

    def layout(self, shape: tuple[int, ...]) -> tuple[Field, ...]:
        """Return the fields of codes of each stage and the scales.

        Examples
        --------
        >>> scheme = E8P(stages=(Stage.E8P, Stage.E81B))
        >>> [(field.name, field.shape, field.bits) for field in scheme.layout((64, 256))]
        [('codes', (64, 32), 16), ('codes_2', (64, 32), 8), ('scales', (64,), 16)]
        >>> scheme.bits_per_weight((64, 256)), E8P().bits_per_weight((4096, 4096), kind="index")
        (3.0625, 2.0)
        """
        vectors = (*shape[:-1], -(-shape[-1] // DIMENSION))
        codes = [
            Field(
                name="codes" if number == 1 else f"codes_{number}",
                shape=vectors,
                bits=STAGE_BITS[stage],
                dtype=np.dtype(f"u{STAGE_BITS[stage] // 8}"),
                is_index=True,
            )
            for number, stage in enumerate(self.stages, 1)
        ]
        scale_dtype = SCALE_DTYPES[FP16]
        scales = Field(name="scales", shape=shape[:-1], bits=FP16.bits, dtype=scale_dtype)
        return (*codes, scales)
