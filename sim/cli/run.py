"""Running of the command line: one-line errors, exit codes, interrupts."""

import gc
import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NoReturn

from sim.cli.interrupts import EXIT_INTERRUPTED, MESSAGE, Interrupts

if TYPE_CHECKING:
    from cyclopts import CycloptsError

EXIT_USER_ERROR = 2


def run(arguments: list[str] | None, interrupts: Interrupts) -> None:
    """Run a command and end the process with its exit code."""
    code = exit_code(lambda: _call(arguments), interrupts)
    if code and arguments is None:
        _leave_at_once(code)
    sys.exit(code)


def _call(arguments: list[str] | None) -> None:
    from sim.cli.commands import app
    from sim.errors import writing

    app(arguments, exit_on_error=False, print_error=False)
    # Flush now, so that a closed pipe or a full disk is an error here and not at exit.
    with writing("standard output"):
        sys.stdout.flush()


def exit_code(command: Callable[[], Any], interrupts: Interrupts) -> int:
    """Call a command; print its error in one line and return the exit code."""
    try:
        command()
    except BaseException as error:
        if interrupts.seen or isinstance(error, KeyboardInterrupt):
            return _complain(MESSAGE, EXIT_INTERRUPTED)
        if isinstance(error, BrokenPipeError) and _has_no_reader(sys.stdout.fileno()):
            # The reader of the pipe, such as head, has ended: not an error.
            _drop_output()
            return 0
        if (message := _message(error)) is None:
            raise
        return _complain(f"qsim: {message}", EXIT_USER_ERROR)
    return 0


def _message(error: BaseException) -> str | None:
    """Return the message of an error that a user can cause; ``None`` for a defect of qsim."""
    from cyclopts import CycloptsError

    from sim.errors import UserError, os_error_text

    match error:
        case UserError():
            return str(error)
        case CycloptsError():
            return _usage(error)
        case OSError():
            return os_error_text(error)
        case _:
            return None


def _usage(error: "CycloptsError") -> str:
    """Return the message of a usage error; for a missing argument, with its help."""
    from cyclopts.exceptions import (
        ConsumeMultipleError,
        MissingArgumentError,
        UnusedCliTokensError,
    )

    if isinstance(error, UnusedCliTokensError):
        command = " ".join(["qsim", *(error.command_chain or ())])
        return f"{command} does not take {' '.join(error.unused_tokens or ())!r}; see --help"
    argument = error.argument
    if argument is None or not isinstance(error, MissingArgumentError | ConsumeMultipleError):
        return str(error)
    command = " ".join(["qsim", *(error.command_chain or ())])
    is_word = argument.field_info.is_positional
    name = argument.name.lstrip("-").upper() if is_word else argument.name
    is_given = not is_word and name in (error.root_input_tokens or ())
    takes = _help_of(error, argument.name)
    return f"{name} needs a value: {takes}" if is_given else f"{command} needs {name}: {takes}"


def _help_of(error: "CycloptsError", name: str) -> str:
    """Return the help of the argument that an error is about."""
    assert error.app is not None
    documented = error.app.assemble_argument_collection(parse_docstring=True)
    found = (one.parameter.help for one in documented if one.name == name)
    return " ".join((next(found, None) or "see --help").split())


def _has_no_reader(file: int) -> bool:
    """Return whether the reading end of a pipe is closed."""
    import select

    poll = select.poll()
    poll.register(file, 0)
    return any(event & select.POLLERR for _, event in poll.poll(0))


def _complain(message: str, code: int) -> int:
    _drop_output()
    print(" ".join(message.split()), file=sys.stderr)
    return code


def _drop_output() -> None:
    """Discard unwritten standard output, so that it does not fail again at exit."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _leave_at_once(code: int) -> NoReturn:
    """End the process at once; a normal exit would wait for threads that still compute."""
    sys.stdout.flush()
    sys.stderr.flush()
    # Release objects shared with other processes.
    gc.collect()
    os._exit(code)
