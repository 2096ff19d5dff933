"""Functions of workers: keys in capitals, death, errors and sleep on demand."""

import os
import signal
import time

from sim.errors import UserError


def prepare(directory, advance):
    """Return a function of keys; it kills its process at those with a file in the directory."""

    def function(key):
        if key == "bad":
            raise UserError("a bad point")
        if key == "defect":
            raise ZeroDivisionError(key)
        advance(1)
        mark = directory / key
        if key == "fatal" or mark.exists():
            mark.unlink(missing_ok=True)
            os.kill(os.getpid(), signal.SIGKILL)
        advance(1.5)
        return key.upper(), os.getpid(), sorted(os.sched_getaffinity(0))

    return function


def prepare_sleep(directory, advance):
    """Return a function that finishes key 'a' and sleeps at others; files name the processes."""

    def function(key):
        (directory / str(os.getpid())).touch()
        try:
            time.sleep(0 if key == "a" else 60)
        finally:
            (directory / f"{os.getpid()}-cleaned").touch()
        return key

    return function
