"""Two and more ways of doing the same, measured in turn in one process, so that a noisy machine is noisy for all."""

import platform
import resource
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import torch


@dataclass(frozen=True)
class Timing:
    """Medians over the rounds, in seconds of the wall and of the process's CPU."""

    wall_s: float
    cpu_s: float


def in_turn(ways: Mapping[str, Callable[[], object]], rounds: int, warm_up: int = 1) -> dict[str, Timing]:
    """Runs each way once a round, after `warm_up` rounds that do not count."""
    walls: dict[str, list[float]] = {name: [] for name in ways}
    cpus: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(warm_up + rounds):
        for name, run in ways.items():
            wall, cpu = time.perf_counter(), time.process_time()
            run()
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            if turn >= warm_up:
                walls[name].append(time.perf_counter() - wall)
                cpus[name].append(time.process_time() - cpu)
    return {name: Timing(statistics.median(walls[name]), statistics.median(cpus[name])) for name in ways}


def profiles(ways: Mapping[str, Callable[[], object]], lines: int = 8) -> str:
    """A Markdown table: what each way spends its time on, once it is warm, by torch's profiler."""
    told = ["| way | s | the largest parts |", "|---|---|---|"]
    for name, run in ways.items():
        run()
        with torch.profiler.profile() as taken:
            run()
        parts = sorted(taken.key_averages(), key=lambda part: -part.self_cpu_time_total)
        whole = sum(part.self_cpu_time_total for part in parts)
        largest = [
            f"{part.key.removeprefix('aten::')} {part.self_cpu_time_total / whole:.0%}" for part in parts[:lines]
        ]
        told.append(f"| {name} | {whole / 1e6:.2f} | {', '.join(largest)} |")
    return "\n".join(told)


def table(timings: Mapping[str, Timing], plain: str) -> str:
    """A Markdown table; ratios are of the plain way over each."""
    lines = ["| way | wall s | CPU s | times faster (wall) | times less CPU |", "|---|---|---|---|---|"]
    for name, timing in timings.items():
        wall, cpu = timings[plain].wall_s / timing.wall_s, timings[plain].cpu_s / timing.cpu_s
        lines.append(f"| {name} | {timing.wall_s:.3f} | {timing.cpu_s:.3f} | {wall:.2f} | {cpu:.2f} |")
    return "\n".join(lines)


def machine(device: str = "cpu") -> str:
    """The machine and the versions, on one line."""
    name = torch.cuda.get_device_name() if device == "cuda" else _processor()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return f"{name}, {torch.get_num_threads()} threads, torch {version('torch')}; peak memory {peak:.1f} GiB"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
