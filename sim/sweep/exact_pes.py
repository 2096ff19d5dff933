"""PEs whose sums don't round: which sweep comes nearest to each, and what that leaves out."""

_PLAIN = "adds exactly, so that a sweep of it is one without --pe, or with --bit-true for every bit"
_HALVES = (
    "adds exactly, but reads activations in FP16; a sweep without --pe leaves those in float32"
)
_BLOCKS = (
    "adds several blocks before it rounds; a sweep without --pe has the same numbers in float32"
    " sums, and none rounds where it does"
)
_WINDOW = (
    "adds exactly where the scales of a sum's blocks lie in its window, and rounds others;"
    " a sweep without --pe has no window"
)
_ROUNDED = (
    "adds exactly, but holds {} in 8 bits; a sweep without --pe has those of the format, in FP16"
)
_VALUES = "adds exactly, so that a sweep of it is one without --pe, whose sums are float32"
#: What is said of each.
NEAREST = {
    **dict.fromkeys(
        ("int8-mac", "int4x8-mac", "mixpe-w4a8", "booth-w8a8", "booth-w4a8", "dint4-mac",
         "dint3-mac", "fp4-dot", "fp8xfp4-dot", "fp8-dot", "ternary-16", "mixpe-w4a8-zero",
         "tl1-lookup", "tl2-lookup"),
        _PLAIN,
    ),
    **dict.fromkeys(("mixpe-w4a16", "bitmod-fp4", "bitmod-fp3"), _HALVES),
    **dict.fromkeys(("nvfp4-dot", "mixpe-w4a8-fp16", "mixpe-w4a8-int8"), _BLOCKS),
    **dict.fromkeys(("mxfp4-dot", "mixpe-w4a8-shift"), _WINDOW),
    **dict.fromkeys(("aqlm-2x4", "aqlm-2x8", "vptq-2x4"), _ROUNDED.format("codebooks")),
    "binary-columns": _ROUNDED.format("scales and offsets of inputs"),
    **dict.fromkeys(("binary-16", "e8p-dot"), _VALUES),
    "nested-planes": "adds exactly, but reads codes that no format of a sweep has",
    "bitmod-dequantizer": "is a part of a PE, which takes sums of groups",
}  # fmt: skip
