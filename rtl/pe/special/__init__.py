"""PE family: BitMoD's aligned PE with a special value per beat."""
