"""Programs that run too long are killed with their child processes."""

import sys
import time

import pytest

from rtl.toolchain import ToolError, run_program

#: Program that starts a child, which keeps the output open and does not end.
ENDLESS = """
import subprocess, sys
subprocess.run([sys.executable, "-c", "import time; time.sleep(60)"])
"""


def test_a_program_without_end_is_ended_with_its_children(tmp_path):
    started = time.monotonic()
    with pytest.raises(ToolError, match=r"^a tool: not done after 1 s$"):
        run_program("a tool", [sys.executable, "-c", ENDLESS], tmp_path, timeout_s=1)
    assert time.monotonic() - started < 30


def test_a_program_gets_text_and_gives_its_output(tmp_path):
    program = "import sys; print(sys.stdin.read().upper()); sys.exit(3)"
    done = run_program(
        "a tool", [sys.executable, "-c", program], tmp_path, given="text", timeout_s=60
    )
    assert (done.stdout, done.returncode) == ("TEXT\n", 3)
