"""The schemes of codebooks by name, each with its source."""

from numerics.codebooks.e8p_scheme import E8P, Stage
from numerics.scheme import Scheme

_QUIP_SHARP = "QuIP#, arXiv:2402.04396"

#: Scheme and source by the names of the catalog.
ENTRIES: dict[str, tuple[Scheme, str]] = {
    scheme.name: (scheme, source)
    for scheme, source in (
        (E8P(), f"{_QUIP_SHARP}, section 4.2"),
        (E8P(stages=(Stage.E8P, Stage.E81B)), f"{_QUIP_SHARP}, section 4.3"),
        (E8P(stages=(Stage.E8P, Stage.E8P)), f"{_QUIP_SHARP}, section 4.3"),
        (E8P(stages=(Stage.E8P, Stage.E8P, Stage.E8P)), f"{_QUIP_SHARP}, section 4.3"),
    )
}
