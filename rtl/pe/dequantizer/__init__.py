"""PE family: BitMoD's dequantizer, which multiplies group sums by scales and adds in FP32."""
