"""The error that a user can cause, and how errors of libraries and of the system become one."""

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager


class UserError(ValueError):
    """Input that can't be used. Its text is one line: what was given, the rule, what would work."""

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.split()))


@contextmanager
def user_errors(*kinds: type[Exception]) -> Iterator[None]:
    """Raise a library's errors of some kinds as :class:`UserError`; also a decorator.

    >>> with user_errors(ValueError):
    ...     int("five")
    Traceback (most recent call last):
    ...
    sim.errors.UserError: invalid literal for int() with base 10: 'five'
    """
    try:
        yield
    except UserError:
        raise
    except kinds as error:
        text = os_error_text(error) if isinstance(error, OSError) else str(error)
        raise UserError(text) from None


#: What an error of the system means, and what would help.
_MEANINGS = {
    errno.ENOSPC: "the disk is full; free some space, or write elsewhere",
    errno.EDQUOT: "the disk quota is used up; free some space, or write elsewhere",
    errno.EFBIG: "the file would be larger than the limit of this process or file system allows",
    errno.EACCES: "no permission",
    errno.EPERM: "no permission",
    errno.EROFS: "the file system is read-only; write elsewhere",
    errno.ENOENT: "no such file or directory",
    errno.ENOTDIR: "a part of the path is a file, not a directory",
    errno.EISDIR: "this is a directory, not a file",
    errno.EEXIST: "this exists already",
    errno.ENOMEM: "not enough memory",
    errno.EMFILE: "too many open files; raise the limit with ulimit -n",
    errno.ENAMETOOLONG: "the name is too long",
    errno.EIO: "the device reports an input or output error",
}


#: How libraries written in Rust report an error of the system.
_FOREIGN = re.compile(r"\(os error (\d+)\)")


@contextmanager
def writing(path: object) -> Iterator[None]:
    """Name the file or directory that is written in an error of the system.

    Libraries such as safetensors and tokenizers report those in exceptions of their own.
    """
    try:
        yield
    except (UserError, BrokenPipeError):
        raise
    except Exception as error:
        number = _FOREIGN.search(str(error))
        if isinstance(error, OSError):
            raise UserError(os_error_text(error, path)) from None
        if number is not None:
            raise UserError(os_error_text(OSError(int(number[1]), str(error)), path)) from None
        raise


def os_error_text(error: OSError, path: object = None) -> str:
    """Return what an error of the operating system means, and for which path.

    >>> os_error_text(OSError(errno.ENOSPC, "No space left on device", "out"))
    'out: the disk is full; free some space, or write elsewhere'
    """
    where = path if path is not None else error.filename
    # NumPy has no number where less was written than asked.
    is_short = error.errno is None and "written" in str(error)
    number = errno.ENOSPC if is_short else error.errno or 0
    meaning = _MEANINGS.get(number) or error.strerror or str(error)
    return meaning if where is None else f"{where}: {meaning}"
