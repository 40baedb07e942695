"""The machine that something is measured on: system, processor, cores, library versions, commit; without torch."""

from __future__ import annotations

import math
import os
import platform
import subprocess
import sys
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

INSTRUCTIONS = (
    *("avx2", "avx512f", "avx_vnni", "avx512_vnni", "avx512_bf16", "amx_int8", "amx_bf16"),
    *("asimd", "asimddp", "i8mm", "bf16"),
)
"""What makes matrix products fast: on x86, and on ARM."""

CPU_QUOTA = Path("/sys/fs/cgroup/cpu.max")
"""Microseconds of processor time and of the period that they are for, as "150000 100000", or "max 100000"."""


def machine(packages: Iterable[str] = ()) -> dict[str, Any]:
    """JSON values that say where something was measured; of the packages, the installed versions."""
    return {
        "os": platform.platform(),
        "cpu": cpu_name(),
        "instructions": instructions(),
        "cores": usable_cores(),
        "gpu": gpu_name(),
        "python": sys.version.split()[0],
        "versions": {name: installed_version(name) for name in packages},
        "commit": commit(),
    }


def cpu_name() -> str:
    """The processor's name as the system gives it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def instructions() -> list[str]:
    """Of `INSTRUCTIONS`, those that the processor announces; none where the system is no Linux."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    said = next((line.partition(":")[2].split() for line in lines if line.startswith(("flags", "Features"))), [])
    return [name for name in INSTRUCTIONS if name in said]


def usable_cores() -> int:
    """The cores that this process may use, which can be fewer than the machine has."""
    return quota_below_cores() or cores_to_run_on()


def cores_to_run_on() -> int:
    """The cores that the system lets this process run on, for however much of the time."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def quota_below_cores() -> int | None:
    """How many cores' time a container gives, rounded up; None where that is no less than the cores it runs on.

    Engines count the cores themselves, and know no quota: more threads than that wait for each other.
    """
    quota = cpu_quota()
    return None if quota is None or quota >= cores_to_run_on() else max(1, math.ceil(quota))


def cpu_quota() -> float | None:
    """The time that the control group (cgroup v2) of this process has, in cores; None for no limit."""
    try:
        time, period = CPU_QUOTA.read_text().split()
        return None if time == "max" else int(time) / int(period)
    except (OSError, ValueError):  # no Linux, or no control group with a limit
        return None


def gpu_name() -> str | None:
    """The GPU, where torch is in use and sees one."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available():
        return None
    return str(torch.cuda.get_device_name())


def installed_version(package: str) -> str | None:
    """None where it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def commit() -> str | None:
    """The commit of the source tree this code runs from, "-dirty" where it was changed; None for an installed copy."""
    here = Path(__file__).resolve()
    if git(here, "ls-files", "--error-unmatch", here.name) is None:
        return None
    return git(here, "describe", "--always", "--dirty", "--abbrev=12")


def git(here: Path, *words: str) -> str | None:
    """What git says beside this file; None where it says no or is not there."""
    try:
        answer = subprocess.run(["git", *words], cwd=here.parent, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return answer.stdout.strip()
