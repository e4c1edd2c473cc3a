"""How long the command line takes to answer, and to report a phantom: whole processes, against an empty Python.

python benchmarks/startup.py [--rounds 5]
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

REG2RG = (sys.executable, "-m", "reg2rg")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([*REG2RG, "demo", "--out", f"{folder}/demo"], check=True, stdout=subprocess.DEVNULL)
        phantom = Path(folder, "demo", "phantom")
        report = ("report", str(phantom / "ct.nii.gz"), "--masks", str(phantom / "masks"))
        commands = {
            "python -c pass": (sys.executable, "-c", "pass"),
            "reg2rg --help": (*REG2RG, "--help"),
            "reg2rg regions --json": (*REG2RG, "regions", "--json"),
            "reg2rg info": (*REG2RG, "info"),
            "reg2rg report, a phantom": (*REG2RG, *report, "--out", f"{folder}/out", "--force"),
        }
        runs: dict[str, list[tuple[float, float, float]]] = {name: [] for name in commands}
        for _ in range(args.rounds):
            for name, command in commands.items():
                runs[name].append(measure(command))
    from fair import machine  # torch: what this process holds would count as its children's peak

    print(f"{machine()}\n\n| command | wall s | CPU s | peak MiB |\n|---|---|---|---|")
    for name, figures in runs.items():
        wall, cpu, peak = (statistics.median(column) for column in zip(*figures, strict=True))
        print(f"| {name} | {wall:.2f} | {cpu:.2f} | {peak:.0f} |")


def measure(command: tuple[str, ...]) -> tuple[float, float, float]:
    """Seconds of the wall and of the CPU, and the peak memory in MiB, of one process."""
    started = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, f"{command}: exit {process.returncode}"
    return time.perf_counter() - started, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024


if __name__ == "__main__":
    main()
