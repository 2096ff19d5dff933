"""Run-time work that a quantization method adds to a model, as sizes.

Hadamard transforms of activations (QuaRot, arXiv:2404.00456; SpinQuant, arXiv:2405.16406) and
low-rank corrections of weights (LoRC of ZeroQuant-V2, arXiv:2303.08302).
"""

from dataclasses import dataclass

from roofline.runtime.storage import Storage


@dataclass(frozen=True, slots=True, kw_only=True)
class LowRank:
    """Factors whose product is added to the weight (out, in) of every linear layer of blocks."""

    rank: int
    #: Storage of the factor (rank, out), which is applied last.
    left: Storage
    #: Storage of the factor (rank, in), which is applied to the inputs.
    right: Storage


@dataclass(frozen=True, slots=True, kw_only=True)
class OnlineWork:
    """Run-time work of a method; ``None`` leaves a part out.

    Hadamard transforms are given by their order, the number of values in one transform.
    """

    #: Consecutive values of the input of ``down``.
    down: int | None = None
    #: Heads that are mixed value by value in the input of ``o``.
    o: int | None = None
    #: Consecutive values of the input of ``o``, heads one after another.
    o_values: int | None = None
    #: Values of each head of queries and of keys.
    qk: int | None = None
    low_rank: LowRank | None = None


NO_WORK = OnlineWork()
