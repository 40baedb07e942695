"""How much memory a case needs at its peak: in a process of its own, less what that had once its engine was loaded."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from featherseg.benchmark.cases import Case
from featherseg.runtime.errors import FeathersegError
from featherseg.runtime.openvino import prepare_process
from featherseg.runtime.peak import peak_bytes, restart_peak

CALLS = 2


def peak_memory(case: Case, picture: Path | None = None) -> dict[str, int | None]:
    """Bytes {"host", "device"} of a case, measured in a fresh process; None for what the system does not tell."""
    done = subprocess.run(
        [sys.executable, "-c", f"from {__name__} import main; main()"],
        input=json.dumps({"case": case.to_json(), "picture": None if picture is None else str(picture)}),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise FeathersegError(f"{case.name}: measuring its memory failed ({last})", remedy="leave --memory out")
    answer: dict[str, int | None] = json.loads(done.stdout)
    return answer


def measured(case: Case, picture: Path | None) -> dict[str, int | None]:
    """The same in this process, which has done nothing else before."""
    from featherseg.benchmark.contest import Contestant

    if case.backend == "openvino":
        prepare_process()
    importlib.import_module(case.backend)
    if case.tail == "plain":
        with suppress(ModuleNotFoundError):
            importlib.import_module("torch")
    restart_peak()
    before = peak_bytes()
    contestant = Contestant(case, picture)
    for _ in range(CALLS):
        contestant()
    peak = peak_bytes()
    host = None if before is None or peak is None else max(0, peak - before)
    return {"host": host, "device": gpu_peak() if case.device == "cuda" else None}


def gpu_peak() -> int | None:
    """The most memory torch had on the GPU at once."""
    torch: Any = sys.modules.get("torch")
    return None if torch is None else int(torch.cuda.max_memory_allocated())


def main() -> None:
    """The fresh process: reads a case, prints its peak."""
    asked = json.loads(sys.stdin.read())
    picture = None if asked["picture"] is None else Path(asked["picture"])
    try:
        print(json.dumps(measured(Case.from_json(asked["case"]), picture)))
    except FeathersegError as error:
        sys.exit(str(error))
