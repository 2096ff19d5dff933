"""The options of ``qsim sweep``: one definition for the command line, its help and studies."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from sim.options import Count, Flag, Name, Names
from sim.sources.known import EMBEDDED_ID

#: Value of :attr:`SweepOptions.product` for dot products in exact integers, group by group; for
#: formats whose values are integers times a unit.
EXACT = "exact"


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class SweepOptions:
    """Model, formats, text and output directory of a sweep."""

    formats: Annotated[Names, Parameter(name="--format")] = ()
    """Formats of 'qsim formats', such as fp4 int4:g64 mxfp4 w4a8 q4_k_m; or all. 'none' measures
    the float32 model alone, or --activations and --kv alone."""
    model: str = EMBEDDED_ID
    """Model of 'qsim models', a directory, a .gguf file or a hub id."""
    checkpoints: Annotated[tuple[str, ...], Parameter(name="--checkpoint")] = ()
    """Ready checkpoint of --model to measure as a point: a directory of a quantization tool, a
    .gguf file or a directory of 'qsim quantize'; repeat it for more."""
    recipes: Path | None = None
    """TOML file of recipes and grids: formats for some layers only."""
    text: Path | None = None
    """UTF-8 text to score; the built-in held-out text if not given."""
    tokens: Count = 16384
    """Tokens to read, in windows of --context."""
    context: Count = 512
    """Window length in tokens; every position but the first of a window is scored."""
    spread: Flag = False
    """Spread the windows evenly over the text instead of taking them from its start."""
    group_size: Count | None = None
    """Consecutive weights that share a scale, for formats that leave it open."""
    activations: Name | None = None
    """Format of the inputs of the linear layers, quantized on the fly."""
    kv: Name | None = None
    """Format of the KV cache."""
    methods: Annotated[Names, Parameter(name="--method")] = ()
    """Methods of 'qsim methods' that choose the codes, such as rtn, gptq or gptq(damping=0.1); each
    format is measured with each."""
    skip: Names = ()
    """Patterns of layers to keep in float32, such as '*.down_proj'. Embeddings and lm_head are
    always kept unless a recipe names them."""
    bit_true: Flag = False
    """Compute dot products of quantized weights and activations as exact integers, group by
    group."""
    pe: str | None = None
    """Compute dot products of weights and FP16 activations as a processing element whose sums
    round, such as bitmod-fp4-aligned or fp16-mac."""
    dither_source: Flag = False
    """Add noise of one source quantization step to a model whose weights lie on a grid."""
    seed: int = 0
    """Seed of that noise."""
    memory: str | None = None
    """Memory to stay below, such as 6GB: hidden states of windows beyond half of it go to disk."""
    out: Path = Path("qsim-out")
    """Directory of the store and the report."""
    shard: str | None = None
    """Measure part i of n of the points, such as 2/8, into a separate --out; 'qsim merge' joins the
    parts and reports them."""
    workers: Count = 1
    """Processes that measure at the same time, each on its share of the cores and of --memory, each
    with its own float32 reference. Fewer cores per process may change the last digits of float32
    sums, as another machine may."""
    on: str | None = None
    """Cluster that measures instead, such as dask:tcp://10.0.0.5:8786: workers of 'dask worker
    ADDRESS --nthreads 1' with the same qsim and files; --memory is that of each process. Needs the
    extra dask."""
    only: Flag = False
    """Report the points of this command only, without those that earlier commands left in --out on
    the same model, text and windows."""
    json: Flag = False
    """Print one JSON object per point on standard output instead of the table."""

    @property
    def product(self) -> str | None:
        """Processing element of the dot products; :data:`EXACT` for ``--bit-true``."""
        return EXACT if self.bit_true else self.pe

    @property
    def noise_seed(self) -> int | None:
        """Seed of the noise on the source's grid; ``None`` for no noise."""
        return self.seed if self.dither_source else None
