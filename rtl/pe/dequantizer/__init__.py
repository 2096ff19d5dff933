"""PE family: group sums times scales, in FP16 and FP32."""
