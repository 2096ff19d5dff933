"""Vector quantization: indices into codebooks that are fixed or trained on the weights."""
