"""PE family: BitMoD's special values, sent with each beat."""
