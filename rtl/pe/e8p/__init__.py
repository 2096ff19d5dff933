"""PE family: dot products of weights in QuIP#'s E8P codebook."""
