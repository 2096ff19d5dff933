"""PE family: sign weights with scales and offsets of inputs (FBI-LLM), for several columns."""
