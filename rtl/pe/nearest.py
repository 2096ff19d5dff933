"""Phrases on PEs with exact sums: the nearest sweep without ``--pe``, and how it differs."""

PLAIN = "adds exactly, so that a sweep of it is one without --pe, or with --bit-true for every bit"
FP16_ACTIVATIONS = (
    "adds exactly, but reads activations in FP16; a sweep without --pe leaves those in float32"
)
BLOCKS = (
    "adds several blocks before it rounds; a sweep without --pe has the same numbers in float32"
    " sums, and none rounds where it does"
)
WINDOW = (
    "adds exactly where the scales of a sum's blocks lie in its window, and rounds others;"
    " a sweep without --pe has no window"
)
VALUES = "adds exactly, so that a sweep of it is one without --pe, whose sums are float32"


def rounded(what: str) -> str:
    """Return the phrase for a PE that rounds some numbers to 8 bits, whose sums are exact."""
    return (
        f"adds exactly, but holds {what} in 8 bits; a sweep without --pe has those of the format,"
        " in FP16"
    )
