"""The types in which a written model stores its embedding and its head."""

from dataclasses import dataclass

from sim.errors import UserError
from sim.quantized.gguf_writer import FLOATS, KEEP, TABLE_TYPES


@dataclass(frozen=True, slots=True, kw_only=True)
class TableTypes:
    """Types of the embedding and of an untied head, which recipes leave in floating point.

    ``None`` is llama.cpp's choice in a GGUF file; in a packed checkpoint the smallest float type
    that holds every value, with FP16 instead of float32 unless the model was rotated.
    """

    embeddings: str | None = None
    head: str | None = None

    def check(self, *, is_gguf: bool) -> None:
        """Raise :class:`UserError` for a type that a file of this kind cannot have."""
        known = TABLE_TYPES if is_gguf else (*FLOATS, KEEP)
        for option, name in (("--embeddings", self.embeddings), ("--head", self.head)):
            if name is not None and name not in known:
                what = "a GGUF file" if is_gguf else "a packed checkpoint"
                raise UserError(f"{option} {name}: in {what} it can be {', '.join(known)}")


#: The types that a file gets unless others are chosen.
DEFAULT_TYPES = TableTypes()
