"""Answer Ctrl-C in one line, from the first moment of the program on.

Only modules that Python has loaded anyway are imported here.
"""

import os
import signal
import sys
import warnings
from types import FrameType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sys import UnraisableHookArgs

EXIT_INTERRUPTED = 130
#: Seconds after which an interrupt that was dropped is raised again.
AGAIN_S = 0.02
MESSAGE = "qsim: interrupted; run the same command to go on\n"


class Interrupts:
    """A handler of Ctrl-C while it is entered.

    In an import it ends the process at once: C code of NumPy prints an exception that it meets
    there, and other modules turn it into one of another kind. Elsewhere it raises
    ``KeyboardInterrupt``, so that files and programs are cleaned up; a second press ends the
    process at once.
    """

    def __init__(self) -> None:
        self.seen = False
        self._before: object = None

    def __enter__(self) -> "Interrupts":
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            self._before = signal.signal(signal.SIGINT, self._answer)
        return self

    def __exit__(self, *_: object) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, signal.default_int_handler)

    def _answer(self, number: int, frame: FrameType | None) -> None:
        if self.seen or _is_importing(frame):
            os.write(2, MESSAGE.encode())
            os._exit(EXIT_INTERRUPTED)
        self.seen = True
        # Objects that are left half-made may complain in their destructors.
        sys.unraisablehook = self._unraisable
        warnings.simplefilter("ignore")
        raise KeyboardInterrupt

    def _unraisable(self, lost: "UnraisableHookArgs") -> None:
        """Print nothing; raise an interrupt again that Python dropped in a destructor.

        Later, since an exception raised here is dropped too.
        """
        if issubclass(lost.exc_type, KeyboardInterrupt) and hasattr(signal, "setitimer"):
            self.seen = False
            signal.signal(signal.SIGALRM, self._answer)
            signal.setitimer(signal.ITIMER_REAL, AGAIN_S)


def _is_importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename == "<frozen importlib._bootstrap>":
            return True
        frame = frame.f_back
    return False
