"""Measured losses of serving formats: rows of an accuracy table, never of another model's guess."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from roofline.runtime.serving_format import ServingFormat
from roofline.runtime.storage import PLAIN
from sim.codesign.accuracy import find_accuracy
from sim.codesign.accuracy_file import FLOAT, ROUND_TO_NEAREST, AccuracyRow, AccuracyTable

#: Names in tables of activations that an operand type stands for, the usual one first.
ACTIVATION_NAMES = {
    "fp16": (FLOAT,),
    "fp32": (FLOAT,),
    "fp8": ("fp8_e4m3",),
    "int8": ("int8",),
    "fp4": ("nvfp4:token", "nvfp4", "fp4"),
    "int4": ("int4",),
}
#: Names in tables of weights that serving formats have by other names.
WEIGHT_NAMES = {
    "fp8_e4m3:channel": ("fp8_e4m3:channel", "fp8_e4m3"),
    "int8:channel": ("int8:channel", "int8"),
    "int8:g128": ("int8",),
    "int6:g128": ("int6",),
    "int5:g128": ("int5",),
    "int4:g128": ("int4",),
    "int3:g128": ("int3",),
    "int2:g128": ("int2",),
}
#: Least standard error that is shown.
LEAST_ERROR = 1e-4
#: Formats of a KV cache whose measured loss is small beside that of weights, and their names.
KV_NAMES = {"fp16": FLOAT, "bf16": FLOAT, "fp8": "fp8_e4m3"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """Divergence from the float32 model in nats a token, with its standard error."""

    nats: float
    error: float | None
    #: Method that chose the codes.
    method: str
    #: Whether activations and KV cache were quantized in the measurement as in the format.
    is_whole: bool

    @property
    def text(self) -> str:
        """Nats with their error.

        >>> Loss(nats=0.04641, error=0.002, method="", is_whole=True).text
        '0.0464±0.0020'
        """
        error = f"±{max(self.error, LEAST_ERROR):.4f}" if self.error else ""
        return f"{self.nats:.4f}{error}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Losses:
    """The accuracy table of one model, by serving formats."""

    table: AccuracyTable

    @property
    def sample(self) -> str:
        """Model and size of the sample."""
        tokens = max((row.tokens for row in self.table.rows), default=0)
        return f"{self.table.model}, {tokens:,} tokens"

    def of(self, fmt: ServingFormat) -> Loss | None:
        """Return the loss of a format: the best method's, else None where none was measured."""
        kv = KV_NAMES.get(fmt.kv, fmt.kv)
        for cache in dict.fromkeys((kv, FLOAT)):
            for weights in _weight_names(fmt):
                for activations in _activation_names(fmt):
                    found = self._rows(weights, activations, cache)
                    if found:
                        best = min(found, key=lambda row: row.kl_nats)
                        return _loss(best, is_whole=cache == kv)
        return None

    def _rows(self, weights: str, activations: str, kv: str) -> list[AccuracyRow]:
        """Return the rows of one combination, with a head in float32 and exact sums."""
        wanted = weights, activations, kv, FLOAT, ""
        return [
            row
            for row in self.table.rows
            if (row.weights, row.activations, row.kv, row.head, row.pe) == wanted
        ]


def _activation_names(fmt: ServingFormat) -> tuple[str, ...]:
    # llama.cpp's INT8 activations have a scale for 32 values; tables have them as float32.
    return (FLOAT,) if fmt.mix is not None else ACTIVATION_NAMES.get(fmt.activations, ())


def _weight_names(fmt: ServingFormat) -> tuple[str, ...]:
    if fmt.mix is not None:
        plain = fmt.mix.base in PLAIN
        return (FLOAT,) if plain else (fmt.mix.name, f"{fmt.mix.name}-gguf")
    name = fmt.weights.name
    return (FLOAT,) if name in PLAIN else WEIGHT_NAMES.get(name, (name,))


def _loss(row: AccuracyRow, *, is_whole: bool) -> Loss:
    method = "" if row.method == ROUND_TO_NEAREST else row.method
    error = row.kl_se if row.kl_se is not None else row.loss_se
    return Loss(nats=row.kl_nats, error=error, method=method, is_whole=is_whole)


def find_losses(model: str, results: Sequence[Path]) -> Losses:
    """Return the losses that a built-in table or a user's sweeps have.

    Raises
    ------
    UserError
        There is no table of the model, or a directory is not that of a sweep of it.
    """
    return Losses(table=find_accuracy(model, [str(path) for path in results]))
