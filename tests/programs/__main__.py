"""Records what the programs print under PyTorch: `python -m tests.programs`."""

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent

for program in sorted(HERE.glob("[a-z]*.py")):
    text = subprocess.run(
        [sys.executable, program], capture_output=True, text=True, check=True
    ).stdout
    program.with_suffix(".txt").write_text(text, encoding="utf-8")
    print(program.name, len(text.splitlines()), "lines")
