"""Ctrl-C ends a command wherever it falls."""

import subprocess
import sys

#: Presses Ctrl-C while Python runs a destructor, which drops every exception. The handler is
#: Python's own, also where the tests run in the background and so ignore Ctrl-C.
DROPPED = """
import os, signal, time
signal.signal(signal.SIGINT, signal.default_int_handler)
from sim.cli.interrupts import Interrupts

class Pressed:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGINT)
        for _ in range(1000):
            pass

with Interrupts() as interrupts:
    try:
        pressed = Pressed()
        del pressed
        time.sleep(10)
        print("went on")
    except KeyboardInterrupt:
        print("interrupted", interrupts.seen)
"""


def test_an_interrupt_that_python_drops_in_a_destructor_is_raised_again():
    program = [sys.executable, "-c", DROPPED]
    done = subprocess.run(program, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("interrupted True\n", "")
