"""Read the README's ``bash`` blocks: print its test command, or run its examples.

The first block holds the two commands of a newcomer; every later one is run as a script in one
empty directory and must succeed. A block that needs a network or minutes is fenced as ``sh``
instead and is not run. Python blocks are doctests, which the test command runs.
"""

import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

README = Path(__file__).parents[1] / "README.md"


def main() -> int:
    """Do what the only argument says; return the exit code."""
    text = README.read_text(encoding="utf-8")
    first, *examples = re.findall(r"^```bash\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    if sys.argv[1] == "--test-command":
        print(next(line for line in first.splitlines() if "pytest" in line))
        return 0
    with tempfile.TemporaryDirectory() as place:
        for script in examples:
            started = time.monotonic()
            command = ["bash", "-euxo", "pipefail", "-c", script]
            code = subprocess.run(command, cwd=place, check=False).returncode
            print(f"README example: exit {code} after {time.monotonic() - started:.0f} s")
            if code:
                return code
    return 0


if __name__ == "__main__":
    sys.exit(main())
