"""Find a machine by the name that a person or a table of measurements gives it.

``RTX 4090 24GB``, ``2x A100-SXM4-80GB`` and ``Raspberry Pi 5 (4 threads)`` all mean a machine: its
words must stand in the text, spelled with or without separators; the longest name wins.
"""

import re
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache

from hw.accelerator import list_accelerators
from hw.machine import GIB, Machine, list_machines, load_machine
from numerics.names.suggest import unknown

#: A memory size that differs by less than this share is meant to be the same.
SAME_SIZE = 0.07
#: The multiplication sign.
TIMES = "\u00d7"
THREADS = re.compile(r"\b(\d+) ?(?:cpu[ -])?(?:t\b|thr\w*)|threads? ?=? ?(\d+)")
#: Cores of the processor and of the GPU of one chip, as Apple writes them.
CORES = re.compile(
    r"\b(?P<count>\d+)[- ]?"
    r"(?:(?:c|cores?)[- ]?(?P<kind>cpu|gpu|npu)|(?P<named>cpu|gpu|npu)[- ]cores?)\b"
)
#: A link's width is no number of machines, nor is a processor's number of cores, threads or bits.
LANES = re.compile(r"\bpci-?e?(?: ?gen)?[ \d.-]*x ?\d+|\bgen ?\d x ?\d+")
PARTS = (
    r"(?![- ]?(?:cores?|c|threads?|thr|t|cpus?|gpus?[- ]cores?|g(?:i?b)?|channels?|bits?|ghz)\b)"
)
#: Slices of TPUs: of v5p and those before v5e the number is that of cores, two in a chip.
SLICE = re.compile(r"\b(?:tpu[- ]?)?v(\d)(e|p|litepod)?(?:-lite)?-(\d+)\b")
#: GeForce cards of four digits, as people call them.
LONE_CARD = re.compile(r"(?<![\w.-])(?=[2-5]0[5-9]0\b)")
#: A smaller chip under the same name.
MOBILE = re.compile(r"\b(laptop|mobile|max-?q)\b")
#: What vendors call their NPUs.
NPU_NAMES = re.compile(r"\bneural engine\b|\bane\b|\bhexagon\b")
#: Words that say nothing about which machine it is.
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
#: Words that are near to those of a machine's name, and none of them.
OTHER_WORDS = frozenset(["mac", "air", "cores", "thread", "threads"])
#: Words as near as this are perhaps meant.
NEAR_WORD = 0.65


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A machine, and how much of it a text says is used."""

    machine: Machine
    #: Machines of this kind side by side.
    count: int = 1
    threads: int | None = None


def find_machine(text: str, *, prefer_kind: str | None = None) -> Found:
    """Return the machine that a text names; of several alike, one of ``prefer_kind``.

    Raises
    ------
    ValueError
        No machine's words stand in the text, or it means the processor beside a known GPU.

    Examples
    --------
    >>> find_machine("RTX 4090 24GB").machine.name, find_machine("4x H100 SXM5").count
    ('rtx-4090', 4)
    >>> found = find_machine("Apple M2 Ultra, 8 threads", prefer_kind="cpu")
    >>> found.machine.name, found.threads
    ('apple-m2-ultra-cpu', 8)
    """
    if text.strip() in list_machines():
        return Found(machine=load_machine(text.strip()))
    lowered = re.sub(
        r"(?<!\d)(\d{1,4})x(?=[a-z]|\d{4}\b)", r"\1 x ", text.lower().replace(TIMES, "x")
    )
    if "tx" not in lowered:
        lowered = LONE_CARD.sub("rtx ", lowered)
    # Only processors are told how many threads to take.
    usual = "cpu" if _threads(lowered) else prefer_kind
    lowered = _without_cores(lowered)
    kinds = NPU_NAMES.sub("npu", lowered)
    wanted = next((kind for kind in ("cpu", "npu", "gpu") if kind in kinds), usual)
    named = THREADS.sub(" ", lowered)
    scored = [(_score(named, name, wanted), name) for name in list_machines()]
    if wanted is None and any(_is_gpu(name) for score, name in scored if score[0]):
        # The processor beside a GPU does not compute.
        scored = [(score, name) for score, name in scored if _is_gpu(name)]
    score, best = max(scored, key=lambda pair: pair[0])
    if score[0] == 0:
        known = [*list_machines(), *list_accelerators()]
        raise ValueError(unknown("machine", text, known, see="qsim hw"))
    machine = load_machine(best)
    if machine.kind == "gpu" and MOBILE.search(lowered):
        raise ValueError(f"{text!r}: {best} is no laptop's; no machine here is the smaller chip")
    if machine.kind == "gpu" and re.search(r"\bcpu\b", lowered):
        raise ValueError(f"{text!r}: {best} is the GPU; no machine here is its processor")
    count, threads = _count(lowered), _threads(lowered)
    if count == 0 or threads == 0:
        raise ValueError(f"{text!r} means 0 {'threads' if count else 'machines'}; at least 1")
    return Found(machine=machine, count=count, threads=threads)


def meant_instead(text: str, found: Found) -> str | None:
    """Return another machine that a text names once a misspelt word of it is put right, if any.

    >>> texts = "apple-m2-ulta", "H100 PCEI", "a100-40bg", "h100-smx", "Mac mini M2"
    >>> [meant_instead(text, find_machine(text)) for text in texts]
    ['apple-m2-ultra', 'h100-pcie', 'a100-sxm-40gb', None, None]
    """
    lowered = re.sub(r"(\d)bg\b", r"\1gb", text.lower())
    corrected = [lowered]
    for word in set(re.findall(r"[a-z]{3,}", lowered)) - _words() - NOISE - OTHER_WORDS:
        near = get_close_matches(word, _words(), n=1, cutoff=NEAR_WORD)
        corrected += [re.sub(rf"(?<![a-z]){word}(?![a-z])", other, lowered) for other in near]
    for other in corrected:
        try:
            name = find_machine(other).machine.name
        except ValueError:
            continue
        if name != found.machine.name:
            return name
    return None


@cache
def _words() -> frozenset[str]:
    """Return the letters that stand together in the names of machines."""
    machines = map(load_machine, list_machines())
    names = " ".join(text for one in machines for text in (one.name, one.title, *one.aliases))
    return frozenset(re.findall(r"[a-z]{2,}", names.lower()))


def _without_cores(text: str) -> str:
    """Return a text without the cores of a processor beside those of a GPU, which both mean a chip.

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


def _score(text: str, name: str, kind: str | None) -> tuple[float, bool, bool, bool, int]:
    """Return how well a machine's names fit: length, kind, memory, no memory at all, brevity."""
    machine = load_machine(name)
    length = max((_matched_length(text, words) for words in _names(name)), default=0)
    size = re.search(r"(\d+) ?g(?:i?b)?\b", text)
    fits = size is not None and _is_near(float(size[1]), machine.capacity_bytes / GIB)
    is_kind = kind is not None and machine.kind == kind
    # A machine of the kind that is meant comes before one whose name happens to be longer.
    bonus = 1.5 if is_kind and length else 0.0
    # "A100" is an alias of one of them, and of the other only with its memory.
    is_unsized = any(_matched_length(text, words) == length for words in _unsized_names(name))
    return length + bonus, is_kind, fits, is_unsized, -len(name)


def _is_near(size: float, capacity: float) -> bool:
    return abs(size / capacity - 1) < SAME_SIZE


@cache
def _unsized_names(name: str) -> tuple[tuple[str, ...], ...]:
    """Return the words of the aliases of a machine that say no memory size."""
    aliases = (re.sub(r"(\d) gb", r"\1gb", text.lower()) for text in load_machine(name).aliases)
    unsized = (text.split() for text in aliases if not re.search(r"\dgb", text))
    return tuple(tuple(word for word in words if word not in NOISE) for words in unsized)


@cache
def _names(name: str) -> tuple[tuple[str, ...], ...]:
    """Return the words of every name of a machine, without those that say nothing."""
    machine = load_machine(name)
    texts = (name.replace("-", " "), re.sub(r"\(.*\)", "", machine.title), *machine.aliases)
    split = (re.sub(r"(\d) gb", r"\1gb", text.lower()).split() for text in texts)
    names = (tuple(w for w in words if w not in NOISE and not _is_size(w)) for words in split)
    sized = (
        tuple(w for w in re.sub(r"(\d) gb", r"\1gb", text.lower()).split() if w not in NOISE)
        for text in texts
    )
    # A lone number is no name.
    return tuple(words for words in {*names, *sized} if any(map(str.isalpha, "".join(words))))


def _is_size(word: str) -> bool:
    return re.fullmatch(r"\d+gb", word) is not None


def _matched_length(text: str, words: tuple[str, ...]) -> int:
    """Return the characters of the words if all stand in the text, else 0."""
    if not all(_pattern(word).search(text) for word in words):
        return 0
    return sum(c.isalnum() for word in words for c in word)


@cache
def _pattern(word: str) -> re.Pattern[str]:
    """Match a word with or without separators, not as a part of a longer number or word."""
    characters = [c for c in word if c.isalnum()]
    body = "[-_ ]?".join(re.escape(c) for c in characters)
    before = r"(?<!\d)" if characters[0].isdigit() else "(?<![a-z])"
    after = r"(?!\d)" if characters[-1].isdigit() else "(?![a-z])"
    return re.compile(before + body + after)


def _count(text: str) -> int:
    """Return how many machines a text names: ``4x``, ``x4``, ``* 4`` or ``tp4``.

    >>> texts = "1000x a100", "a100 * 2", "a100 x8", "a100, tp=2", "8-gpu h100", "epyc 9654 2s"
    >>> [_count(text) for text in texts]
    [1000, 2, 8, 2, 8, 2]
    >>> texts = "ryzen 9 5950x 16-core", "7900 xtx", "tpu v5e-8", "tpu v4-8", "pcie x16"
    >>> [_count(text) for text in texts]
    [1, 1, 8, 4, 1]
    """
    text = LANES.sub(" ", text)
    if "tpu" in text and (match := SLICE.search(text)):
        chips = int(match[3])
        is_by_core = int(match[1]) < 5 or match[2] == "p"
        return max(1, chips // 2) if is_by_core else chips
    patterns = (
        # But the XT and XTX of a 7900 are names, and so is the X of a 5950X.
        r"(?<![\w.])(\d{1,4}) ?(?:x(?![a-z])|\*)[ -]?(?=[a-z]|\d{4})",
        r"(?<![\w.])(\d{1,2})x *(?:$|[,;)])",
        # But x86 is no number of machines.
        rf"(?:(?<=[ (])[x*](?!86\b) ?|(?<=\d)(?:\*|x(?!86\b)))(\d{{1,3}})\b{PARTS}",
        r"\btp ?=? ?(\d{1,2})\b",
        # But 8-core GPU and 40 GPU cores are parts of one.
        r"\b(\d{1,3})[- ](?:gpus?|cards?|sockets?|chips?)\b(?![- ]?cores?)",
        # Two sockets of servers.
        r"(?<=[ (])([248])s\b",
    )
    if re.search(r"\bdual\b", text):
        return 2
    found = (re.search(pattern, text) for pattern in patterns)
    return next((int(match[1]) for match in found if match), 1)


def _threads(text: str) -> int | None:
    """Return the threads of a text such as ``8 threads``, ``8t`` or ``threads=8``."""
    match = THREADS.search(text)
    return int(match[1] or match[2]) if match else None
