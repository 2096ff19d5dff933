"""Sizes of GGUF files that llama.cpp publishes."""

#: Bits per weight of Llama-3.1-8B, from the table in llama.cpp's tools/quantize/README.md.
PUBLISHED = {
    "q2_k": 3.1593, "q2_k_s": 2.9697, "q3_k_s": 3.6429, "q3_k_m": 3.9960, "q3_k_l": 4.2979,
    "q4_k_s": 4.6672, "q4_k_m": 4.8944, "q5_k_s": 5.5704, "q5_k_m": 5.7036, "q6_k": 6.5633,
    "q8_0": 8.5008, "iq4_xs": 4.4597, "iq4_nl": 4.6818,
}  # fmt: skip
