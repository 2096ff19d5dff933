"""Notes on PEs with exact sums: the nearest sweep without ``--pe``, and its difference."""

PLAIN = "adds exactly; a sweep without --pe differs by float32 rounding, with --bit-true not at all"
FP16_ACTIVATIONS = (
    "adds exactly, but reads activations in FP16; a sweep without --pe has them in float32"
)
BLOCKS = "adds several blocks before it rounds; a sweep without --pe rounds every float32 addition"
WINDOW = (
    "adds exactly where the scales of a group's blocks lie in its window, and else rounds;"
    " a sweep without --pe has no window"
)
VALUES = "adds exactly; a sweep without --pe differs by float32 rounding"


def rounded(what: str) -> str:
    """Return the note for a PE with exact sums that stores some numbers in 8 bits."""
    return f"adds exactly, but stores {what} in 8 bits; a sweep without --pe has them in FP16"
