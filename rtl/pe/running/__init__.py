"""PE family: MixPE's W4A16 with a short accumulator, truncated with each product."""
