"""Find a machine in the words that a table of measurements has for it.

``RTX 4090 24GB``, ``2x A100-SXM4-80GB`` and ``Raspberry Pi 5 (4 threads)`` all mean a machine: its
words must stand in the text, spelled with or without separators; the longest name wins.
"""

import re
from functools import cache

from hw.machine import GIB, list_machines, load_machine
from hw.names import SAME_SIZE, TIMES, Found, near_machines
from numerics.names.suggest import unknown

THREADS = re.compile(r"\b(\d+) ?(?:cpu[ -])?(?:t\b|thr\w*)|threads? ?=? ?(\d+)")
#: Numbers of CPU and GPU cores of one chip, as Apple writes them.
CORES = re.compile(
    r"\b(?P<count>\d{1,3})[- ]?"
    r"(?:(?:c|cores?)[- ]?(?P<kind>cpu|gpu|npu)|(?P<named>cpu|gpu|npu)[- ]cores?)\b"
)
#: A link's width, and the words after a number that make it a number of cores, threads or bits;
#: neither is a number of machines.
LANES = re.compile(r"\bpci-?e?(?: ?gen)?[ \d.-]*x ?\d+|\bgen ?\d x ?\d+")
PARTS = (
    r"(?![- ]?(?:cores?|c|threads?|thr|t|cpus?|gpus?[- ]cores?|g(?:i?b)?|channels?|bits?|ghz)\b)"
)
#: Slices of TPUs; for v5p and generations before v5e the number counts cores, two in a chip.
SLICE = re.compile(r"\b(?:tpu[- ]?)?v(\d)(e|p|litepod)?(?:-lite)?-(\d+)\b")
#: GeForce cards by their four digits alone.
LONE_CARD = re.compile(r"(?<![\w.-])(?=[2-5]0[5-9]0\b)")
#: Words of laptop GPUs, smaller chips under the name of a desktop GPU.
MOBILE = re.compile(r"\b(laptop|mobile|max-?q)\b")
#: Vendors' names of their NPUs.
NPU_NAMES = re.compile(r"\bneural[- ]engine\b|\bane\b|\bhexagon\b")
#: Characters and vendors' names between two words of a name.
BETWEEN = r"[^a-z0-9]*(?:(?:gen|nvidia|geforce|amd|intel|apple|qualcomm)\b[^a-z0-9]*)*"
#: The name of a card that has no other link than PCIe, and the width of that link.
CARD_LANES = re.compile(r"^[ ,(-]*x ?(?:8|16)\b")
#: Words that many machines have in common.
NOISE = frozenset(
    [
        "nvidia",
        "geforce",
        "amd",
        "intel",
        "apple",
        "qualcomm",
        "google",
        "gpu",
        "cpu",
        "npu",
        "gb",
        "aws",
        "radeon",
    ]
)


def machine_in(text: str, *, prefer_kind: str | None = None) -> Found:
    """Return the machine that a text names; of several with one name, that of ``prefer_kind``.

    Raises
    ------
    ValueError
        The text has no machine's words, or it means the CPU of a chip whose GPU alone is known.

    Examples
    --------
    >>> machine_in("RTX 4090 24GB").machine.name, machine_in("4x H100 SXM5").count
    ('rtx-4090', 4)
    >>> found = machine_in("Apple M2 Ultra, 8 threads", prefer_kind="cpu")
    >>> found.machine.name, found.threads
    ('apple-m2-ultra-cpu', 8)
    """
    if text.strip() in list_machines():
        return Found(machine=load_machine(text.strip()))
    lowered = re.sub(
        r"(?<!\d)(\d{1,4})x(?!tx?\b)(?=[a-z]|\d{4}\b)", r"\1 x ", text.lower().replace(TIMES, "x")
    )
    if "tx" not in lowered:
        lowered = LONE_CARD.sub("rtx ", lowered)
    # A number of threads means a CPU.
    usual = "cpu" if _threads(lowered) else prefer_kind
    lowered = _without_cores(lowered)
    kinds = NPU_NAMES.sub("npu", lowered)
    wanted = next((kind for kind in ("cpu", "npu", "gpu") if kind in kinds), usual)
    named = THREADS.sub(" ", lowered)
    scored = [(_score(named, name, wanted), name) for name in list_machines()]
    if wanted is None and any(_is_gpu(name) for score, name in scored if score[0]):
        # With a GPU in the text, the CPU is its host.
        scored = [(score, name) for score, name in scored if _is_gpu(name)]
    score, best = max(scored, key=lambda pair: pair[0])
    if score[0] == 0:
        near = near_machines(lowered)
        raise ValueError(unknown("machine", text, list_machines(), see="qsim hw", near=near))
    machine = load_machine(best)
    if machine.kind == "gpu" and MOBILE.search(lowered):
        raise ValueError(f"{text!r}: {best} is the desktop GPU; the laptop's is not in the catalog")
    if machine.kind == "gpu" and re.search(r"\bcpu\b", lowered):
        raise ValueError(f"{text!r}: {best} is the GPU; its CPU is not in the catalog")
    count = _slice_chips(lowered) or _count(_without_name(lowered, best))
    threads = _threads(lowered)
    if count == 0 or threads == 0:
        raise ValueError(f"{text!r} means 0 {'threads' if count else 'machines'}; at least 1")
    return Found(machine=machine, count=count, threads=threads)


def _without_cores(text: str) -> str:
    """Return a text without the number of CPU cores of a chip whose GPU cores are given too.

    >>> _without_cores("m3 max 14-core cpu 30 gpu cores"), _without_cores("m2, 8-core cpu")
    ('m3 max  30-core gpu', 'm2, 8-core cpu')
    """
    kinds = {match["kind"] or match["named"] for match in CORES.finditer(text)}

    def in_one_way(match: re.Match[str]) -> str:
        kind = match["kind"] or match["named"]
        return f"{match['count']}-core {kind}" if kind == "gpu" or "gpu" not in kinds else ""

    return CORES.sub(in_one_way, text)


def _is_gpu(name: str) -> bool:
    return load_machine(name).kind == "gpu"


def _score(text: str, name: str, kind: str | None) -> tuple[float, bool, bool, bool, bool, int]:
    """Return how well a machine fits a text.

    By length of the name, words side by side, kind, memory size, name without size, brevity.
    """
    machine = load_machine(name)
    length = max((_matched_length(text, words) for words in _names(name)), default=0)
    # The 2 of "2x Snapdragon 8 Gen 3" is not that of "Snapdragon 8 Gen 2".
    is_phrase = length > 0 and any(
        _matched_length(text, words) == length and _phrase(words).search(text)
        for words in _names(name)
    )
    size = re.search(r"(\d+) ?g(?:i?b)?\b", text)
    fits = size is not None and _is_near(float(size[1]), machine.capacity_bytes / GIB)
    is_kind = kind is not None and machine.kind == kind
    # A machine of the kind that is meant comes before one whose name happens to be longer.
    bonus = 1.5 if is_kind and length else 0.0
    # "A100" alone is an alias of one A100; the other is found by its memory size.
    is_unsized = any(_matched_length(text, words) == length for words in _unsized_names(name))
    return length + bonus, is_phrase, is_kind, fits, is_unsized, -len(name)


def _is_near(size: float, capacity: float) -> bool:
    return abs(size / capacity - 1) < SAME_SIZE


@cache
def _unsized_names(name: str) -> tuple[tuple[str, ...], ...]:
    """Return the words of a machine's aliases without a memory size."""
    aliases = (re.sub(r"(\d) gb", r"\1gb", text.lower()) for text in load_machine(name).aliases)
    unsized = (text.split() for text in aliases if not re.search(r"\dgb", text))
    return tuple(tuple(word for word in words if word not in NOISE) for words in unsized)


@cache
def _names(name: str) -> tuple[tuple[str, ...], ...]:
    """Return the words of every name of a machine, without common words."""
    machine = load_machine(name)
    texts = (name.replace("-", " "), re.sub(r"\(.*\)", "", machine.title), *machine.aliases)
    split = (re.sub(r"(\d) gb", r"\1gb", text.lower()).split() for text in texts)
    names = (tuple(w for w in words if w not in NOISE and not _is_size(w)) for words in split)
    sized = (
        tuple(w for w in re.sub(r"(\d) gb", r"\1gb", text.lower()).split() if w not in NOISE)
        for text in texts
    )
    # A number alone is not a name.
    return tuple(words for words in {*names, *sized} if any(map(str.isalpha, "".join(words))))


def _is_size(word: str) -> bool:
    return re.fullmatch(r"\d+gb", word) is not None


def _matched_length(text: str, words: tuple[str, ...]) -> int:
    """Return the characters of the words if all stand in the text, else 0."""
    if not all(_phrase((word,)).search(text) for word in words):
        return 0
    return sum(c.isalnum() for word in words for c in word)


@cache
def _phrase(words: tuple[str, ...]) -> re.Pattern[str]:
    """Return a pattern of words side by side that matches no part of a longer word or number."""
    characters = [c for word in words for c in word if c.isalnum()]
    before = r"(?<!\d)" if characters[0].isdigit() else "(?<![a-z])"
    after = r"(?!\d)" if characters[-1].isdigit() else "(?![a-z])"
    return re.compile(before + BETWEEN.join(map(_body, words)) + after)


def _body(word: str) -> str:
    """Return a pattern of one word; separators may stand between its letters and its digits.

    The x of "MI250 x 4" is not that of "MI250X".

    >>> _body("i7-13700h")
    'i[-_ ]?7[-_ ]?13700[-_ ]?h'
    """
    body = "[-_ ]?".join(map(re.escape, re.findall(r"[a-z]+|\d+", word)))
    stem = body.removesuffix("[-_ ]?x")
    return body if stem == body else rf"{stem}(?:x|[-_ ]x(?! ?\d))"


def _without_name(text: str, name: str) -> str:
    """Return a text without the longest name of a machine, whose numbers count no machines.

    >>> _without_name("2x amd ryzen 9 5950x cpu", "ryzen-5950x")
    '2x amd machine  cpu'
    >>> _without_name("h100 pcie x16", "h100-pcie")
    'machine '
    """
    found = [match for words in _names(name) for match in _phrase(words).finditer(text)]
    longest = max(found, key=lambda match: len(match[0]), default=None)
    if longest is None:
        return text
    rest = text[longest.end() :]
    if "pci" in longest[0]:
        rest = CARD_LANES.sub("", rest)
    return f"{text[: longest.start()]}machine {rest}"


def _count(text: str) -> int:
    """Return how many machines a text names: ``4x``, ``x4``, ``* 4`` or ``tp4``.

    >>> texts = "1000x a100", "a100 * 2", "a100 x8", "a100, tp=2", "8-gpu h100", "epyc 9654 2s"
    >>> [_count(text) for text in texts]
    [1000, 2, 8, 2, 8, 2]
    >>> texts = "ryzen 9 5950x 16-core", "7900 xtx", "pcie x16"
    >>> [_count(text) for text in texts]
    [1, 1, 1]
    """
    text = LANES.sub(" ", text)
    patterns = (
        # XT and XTX in "7900 XTX" and X in "5950X" are parts of names.
        r"(?<![\w.])(\d{1,4}) ?(?:x(?![a-z])|\*)[ -]?(?=[a-z]|\d{4})",
        r"(?<![\w.])(\d{1,2})x *(?:$|[,;)])",
        # "x86" is an architecture, not 86 machines.
        rf"(?:(?<=[ (])[x*](?!86\b) ?|(?<=\d)(?:\*|x(?!86\b)))(\d{{1,3}})\b{PARTS}",
        r"\btp ?=? ?(\d{1,2})\b",
        # "8-core GPU" and "40 GPU cores" are parts of one machine.
        r"\b(\d{1,3})[- ](?:gpus?|cards?|sockets?|chips?)\b(?![- ]?cores?)",
        # "2s" stands for two sockets of a server.
        r"(?<=[ (])([248])s\b",
    )
    if re.search(r"\bdual\b", text):
        return 2
    found = (re.search(pattern, text) for pattern in patterns)
    return next((int(match[1]) for match in found if match), 1)


def _slice_chips(text: str) -> int | None:
    """Return the chips of a slice of TPUs.

    >>> [_slice_chips(text) for text in ("tpu v5e-8", "tpu v4-8", "8x tpu v6e")]
    [8, 4, None]
    """
    match = SLICE.search(text) if "tpu" in text else None
    if match is None:
        return None
    chips = int(match[3])
    is_by_core = int(match[1]) < 5 or match[2] == "p"
    return max(1, chips // 2) if is_by_core else chips


def _threads(text: str) -> int | None:
    """Return the threads of a text such as ``8 threads``, ``8t`` or ``threads=8``."""
    match = THREADS.search(text)
    return int(match[1] or match[2]) if match else None
