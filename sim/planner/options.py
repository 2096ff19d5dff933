"""The options of ``qsim plan``, written once: for the command line, its help and tests."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter
from cyclopts.validators import Number

from sim.options import Count, Flag, Name, Names

#: Seconds of the units of a duration.
UNITS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "min": 60.0, "": 1.0}
_DURATION = re.compile(r"(\d+(?:\.\d+)?|\.\d+) ?(min|ms|us|s|)")


def seconds(type_: Any, tokens: Any) -> float:
    """Return the seconds of a text such as ``1s`` or ``50ms``.

    >>> from types import SimpleNamespace
    >>> [seconds(float, [SimpleNamespace(value=text)]) for text in ("1s", "50ms", "0.5")]
    [1.0, 0.05, 0.5]
    """
    text = str(tokens[0].value).strip().lower()
    match = _DURATION.fullmatch(text)
    if match is None or not float(match[1]):
        raise ValueError(f"{text!r} is not a time above 0; write 1s or 50ms")
    return float(match[1]) * UNITS[match[2]]


Seconds = Annotated[float, Parameter(converter=seconds)]


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class PlanOptions:
    """What a deployment has to serve, and what to choose from."""

    models: Annotated[Names, Parameter(name="--model")] = ()
    """A model of 'qsim models', such as llama-3.1-8b, or a .toml file of its sizes."""
    machines: Annotated[Names, Parameter(name="--hw")] = ()
    """Machines of 'qsim hw', such as rtx-4090 or '2x l4'; without it, all with a known price."""
    formats: Annotated[Names, Parameter(name="--format")] = ()
    """Formats to choose from; the usual ones of each machine if not given."""
    kv: Name | None = None
    """Format of the KV cache; FP16, and 8 bits where that does not fit, if not given."""
    context: Count = 4096
    """Tokens of each user: prompt and answer."""
    output: Count = 256
    """Tokens of each answer."""
    users: Count = 1
    """Users that are served at once."""
    ttft: Seconds | None = None
    """Longest time to the first token, such as 1s, while all other users get tokens."""
    tpot: Seconds | None = None
    """Longest time for each token of a user, such as 50ms."""
    loss: Annotated[float, Parameter(validator=Number(gt=0))] = 0.05
    """Most nats a token that a format may lose, in the accuracy table."""
    accuracy: Name = "embedded"
    """Model with a built-in accuracy table: embedded or smollm2-135m."""
    results: Annotated[tuple[Path, ...], Parameter(show_default=False)] = ()
    """Directories of your own sweeps of the --accuracy model, in place of the built-in table."""
    json: Flag = False
    """Print one JSON object a deployment on standard output instead of the answer."""
