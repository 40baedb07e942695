"""How many cores a process may use, and that engines take no more threads than that."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_onnx import write_network

from featherseg.runtime import engines, machine
from featherseg.runtime.engines import OnnxEngine, open_engine


@pytest.fixture
def quota(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The control group's file, on a machine of eight cores."""
    monkeypatch.setattr(machine, "CPU_QUOTA", tmp_path / "cpu.max")
    monkeypatch.setattr(machine, "cores_to_run_on", lambda: 8)
    return tmp_path / "cpu.max"


@pytest.mark.parametrize(
    ("text", "cores"),
    [
        (None, 8),
        ("max 100000\n", 8),
        ("300000 100000\n", 3),
        ("250000 100000\n", 3),
        ("5000 100000\n", 1),
        ("1600000 100000\n", 8),
        ("no such form\n", 8),
    ],
)
def test_a_quota_of_time_is_so_many_cores(quota: Path, text: str | None, cores: int) -> None:
    if text is not None:
        quota.write_text(text)
    assert machine.usable_cores() == machine.machine()["cores"] == cores


@pytest.mark.parametrize(
    ("asked", "text", "taken"), [(None, "max 100000", 0), (None, "150000 100000", 2), (5, "1 1", 5)]
)
def test_engines_take_no_more_threads_than_the_quota(
    quota: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: int | None, text: str, taken: int
) -> None:
    """0 leaves the choice to onnxruntime, None to OpenVINO."""
    quota.write_text(text)
    path = write_network(tmp_path / "net.onnx")
    assert OnnxEngine(path, threads=asked).session.get_session_options().intra_op_num_threads == taken
    monkeypatch.setitem(engines.ENGINES, "openvino", lambda path, *, device, threads: threads)
    monkeypatch.setattr(engines, "require_installed", lambda backend, path: None)
    assert open_engine("net.xml", threads=asked) == (taken or None)
