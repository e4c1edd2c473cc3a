"""TotalSegmentator as a program: found, asked for its version, run for one task. It is never imported.

It brings torchvision, which does not fit the torch that is used here: install it in an environment of its own.
Its command line is that of its documentation: ``TotalSegmentator -i CT -o FILE --ml --task TASK``.
"""

import logging
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from reg2rg.errors import InputError

NAME = "TotalSegmentator"
VARIABLE = "REG2RG_TOTALSEGMENTATOR"

_LONGEST_LINE = 200  # characters of the program's last line in a message
_PROGRESS = logging.getLogger(__name__)


def find_program() -> str | None:
    """Path of the program that ``REG2RG_TOTALSEGMENTATOR`` names, or that PATH has; None if there is none.

    Raises:
        InputError: if the variable names no program.
    """
    named = os.environ.get(VARIABLE)
    found = shutil.which(named or NAME)
    if named and found is None:
        raise InputError(f"{VARIABLE}={named}: expected a program that can be run; correct or unset the variable")
    return found


def program_version(program: str) -> str:
    """What ``--version`` says, or "unknown version"."""
    try:
        last, returned = _run([program, "--version"])
    except OSError:
        return "unknown version"
    return last if returned == 0 and last else "unknown version"


def run_task(program: str, task: str, ct: Path, out: Path) -> None:
    """Runs one task into one multi-label file. Each line the program prints is logged as it comes, at level INFO.

    Raises:
        InputError: if it cannot be started, fails, or writes no file; with its last line.
    """
    try:
        last, returned = _run([program, "-i", str(ct), "-o", str(out), "--ml", "--task", task])
    except OSError as error:
        raise InputError(f"{program}: could not be started ({error.strerror}); correct {VARIABLE} or PATH") from error
    if returned != 0:
        raise InputError(f"{NAME}, task {task}, failed ({last or f'exit code {returned}'})")
    if not out.is_file():
        raise InputError(f"{NAME}, task {task}, wrote no file ({last or 'and said nothing'})")


def _run(command: Sequence[str]) -> tuple[str, int]:
    """The last line that is not empty, of standard output and error together, and the exit code."""
    last = ""
    # Text mode makes a line of each step of a progress bar, too: they end in a carriage return.
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        errors="replace",
    ) as process:
        assert process.stdout is not None
        try:
            for line in process.stdout:
                if line.strip():
                    last = line.strip()[:_LONGEST_LINE]
                    _PROGRESS.info(last)
        except BaseException:
            process.kill()
            raise
    return last, process.returncode
