"""Read the README's shell blocks: print its test command, or run its examples.

The first block holds the two commands of a newcomer; every later ``bash`` block is run, line by
line, in one empty directory, and must succeed. A block that needs a network or minutes of time is
fenced as ``sh`` instead and is not run.
"""

import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

README = Path(__file__).parents[1] / "README.md"


def blocks(language: str) -> list[list[str]]:
    """Commands of each fenced block of a language, comments stripped, continuations joined."""
    text = README.read_text(encoding="utf-8").replace("\\\n", " ")
    found = re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    lines = [[re.sub(r"\s+#.*$", "", line).strip() for line in b.splitlines()] for b in found]
    return [[line for line in block if line and not line.startswith("#")] for block in lines]


def main() -> int:
    """Do what the only argument says; return the exit code."""
    first, *examples = blocks("bash")
    if sys.argv[1] == "--test-command":
        print(next(line for line in first if "pytest" in line))
        return 0
    with tempfile.TemporaryDirectory() as place:
        for command in [line for block in examples for line in block]:
            started = time.monotonic()
            code = subprocess.run(["bash", "-c", command], cwd=place, check=False).returncode
            print(f"README: exit {code} after {time.monotonic() - started:.0f} s: {command}")
            if code:
                return code
    return 0


if __name__ == "__main__":
    sys.exit(main())
