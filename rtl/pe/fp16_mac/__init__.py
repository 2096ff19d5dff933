"""PE family: FP16 multiply-accumulate."""
