"""The error message for unknown names."""

from collections.abc import Iterable, Sequence
from difflib import get_close_matches


def unknown(
    kind: str,
    name: str,
    choices: Iterable[str],
    *,
    see: str | None = None,
    near: Sequence[str] = (),
) -> str:
    """Return the error message for a name that is not one of the choices.

    Parameters
    ----------
    kind
        Kind of thing that was looked up, such as ``"format"``.
    name
        The unknown name.
    choices
        All names of the kind.
    see
        Command that lists them; without it the message does, unless there is a suggestion.
    near
        Suggestions of the caller; by default the choice that is nearest in spelling.

    Examples
    --------
    >>> unknown("format", "fp5", ["int4", "fp4"], see="qsim formats")
    "unknown format 'fp5'; did you mean 'fp4'? `qsim formats` lists all"
    >>> unknown("key", "tpd_w", ["tdp_w", "cores"]), unknown("key", "colour", ["tdp_w", "cores"])
    ("unknown key 'tpd_w'; did you mean 'tdp_w'?", "unknown key 'colour'; known: tdp_w, cores")
    """
    known = list(choices)
    close = list(near) or _nearest(name, known)
    message = f"unknown {kind} {name!r};"
    if close:
        message += f" did you mean {' or '.join(map(repr, close))}?"
    if see is not None:
        message += f" `{see}` lists all"
    elif not close:
        message += f" known: {', '.join(known) or 'none'}"
    return message


def _nearest(name: str, choices: Sequence[str]) -> list[str]:
    """Return the choice nearest in spelling, else the first that starts with ``name``, if any."""
    by_key = {choice.lower(): choice for choice in choices}
    wanted = "-".join(name.lower().split())
    close = get_close_matches(wanted, by_key, n=1)
    longer = (key for key in by_key if wanted and key.startswith(wanted))
    return [by_key[key] for key in [*close, *longer][:1]]
