"""Catalog entries of the codebook schemes: name, scheme, source."""

from numerics.codebooks.additive import Additive
from numerics.codebooks.e8p_scheme import E8P, Stage
from numerics.codebooks.kmeans import KMeans
from numerics.codebooks.vptq import Codebook, Vptq
from numerics.schemes.scheme import Scheme

_QUIP_SHARP = "QuIP#, arXiv:2402.04396"
_AQLM = "AQLM, arXiv:2401.06118, section 3, at its initial codebooks"
_VPTQ = "VPTQ, arXiv:2409.17066, sections 3.2 to 3.4, without calibration"
_VPTQ_TWO_STAGES = Vptq(main=Codebook(length=8, bits=8), residual_bits=8)
_VPTQ_OUTLIERS = Vptq(
    main=Codebook(length=6, bits=12), outlier_codebook=Codebook(length=4, bits=12), outliers=0.01
)
_SQUEEZE_LLM = "SqueezeLLM, arXiv:2306.07629, section 4.1, with equal weights, no outliers"

#: Scheme and source by catalog name.
ENTRIES: dict[str, tuple[Scheme, str]] = {
    scheme.name: (scheme, source)
    for scheme, source in (
        (E8P(), f"{_QUIP_SHARP}, section 4.2"),
        (E8P(stages=(Stage.E8P, Stage.E81B)), f"{_QUIP_SHARP}, section 4.3"),
        (E8P(stages=(Stage.E8P, Stage.E8P)), f"{_QUIP_SHARP}, section 4.3"),
        (E8P(stages=(Stage.E8P, Stage.E8P, Stage.E8P)), f"{_QUIP_SHARP}, section 4.3"),
        (Additive(codebooks=2, code_bits=8), _AQLM),
        (Additive(codebooks=1, code_bits=16), _AQLM),
        (_VPTQ_TWO_STAGES, _VPTQ),
        (_VPTQ_OUTLIERS, _VPTQ),
        (KMeans(code_bits=3), _SQUEEZE_LLM),
        (KMeans(code_bits=4), _SQUEEZE_LLM),
    )
}
