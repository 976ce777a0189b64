"""How many processes `auto` is."""

from __future__ import annotations

import importlib.util
import math
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

FILE = Path(__file__).resolve().parents[2] / "roles/server/files/worker_count.py"
GB = 1_000_000_000


def load() -> ModuleType:
    """The module as a server's settings load it."""
    spec = importlib.util.spec_from_file_location("worker_count", FILE)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


worker_count = load()


@pytest.mark.parametrize(
    ("cores", "memory", "each", "more", "number"),
    [
        (1, 8 * GB, 1, 0, 2),
        (2, 8 * GB, 1, 0, 2),
        (8, 8 * GB, 1, 0, 8),
        (8, 8 * GB, 2, 1, 17),  # gunicorn's sync workers
        (1, 8 * GB, 2, 1, 3),
        (0.5, 8 * GB, 1, 0, 2),
        (2.5, 8 * GB, 1, 0, 3),
        (64, GB, 1, 0, 10),
        (64, 50_000_000, 1, 0, 1),
    ],
)
def test_cores_and_memory_decide(cores: float, memory: float, each: int, more: int, number: int) -> None:
    assert worker_count.count(cores, memory, each, more) == number


def test_a_number_is_that_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WEB_CONCURRENCY", raising=False)
    assert worker_count.workers("7", "50%", "10M") == 7


def test_the_environment_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEB_CONCURRENCY", "5")
    assert worker_count.workers("7") == worker_count.workers("auto") == 5


def test_limits_of_the_release_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WEB_CONCURRENCY", raising=False)
    monkeypatch.setattr(worker_count.os, "sched_getaffinity", lambda _: set(range(32)))
    monkeypatch.setattr(worker_count, "_OWN", Path("/nowhere"))
    monkeypatch.setattr(worker_count.os, "sysconf", lambda name: {"SC_PHYS_PAGES": 16 * GB // 4096}.get(name, 4096))
    assert worker_count.workers("auto") == 32
    assert worker_count.workers("auto", "400%") == 4
    assert worker_count.workers("auto", "400%", "300M") == 3
    assert worker_count.workers("auto", "", "10%") == 16


@pytest.mark.parametrize(
    ("text", "bytes_"),
    [("", math.inf), ("infinity", math.inf), ("1024", 1024), ("2K", 2048), ("1G", 1 << 30), ("25%", 250)],
)
def test_sizes_as_systemd_writes_them(text: str, bytes_: float) -> None:
    assert worker_count.size(text, 1000) == bytes_


def lay(top: Path, files: dict[str, str]) -> None:
    """Write files below a directory."""
    for name, text in files.items():
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).write_text(f"{text}\n")


def limits(tmp_path: Path) -> tuple[float, float]:
    """Cores and memory of the groups in a tree that stands for the kernel's."""
    groups = list(worker_count.own_groups(tmp_path / "self", tmp_path / "cgroup"))
    return min(map(worker_count.group_cores, groups)), min(map(worker_count.group_memory, groups))


def test_control_groups_of_version_2(tmp_path: Path) -> None:
    lay(
        tmp_path,
        {
            "self": "0::/system.slice/api@1.service",
            "cgroup/system.slice/api@1.service/cpu.max": "max 100000",
            "cgroup/system.slice/api@1.service/memory.max": "400000000",
            "cgroup/system.slice/cpu.max": "150000 100000",
            "cgroup/system.slice/memory.max": "max",
        },
    )
    assert limits(tmp_path) == (1.5, 400_000_000)


def test_control_groups_of_version_1(tmp_path: Path) -> None:
    lay(
        tmp_path,
        {
            "self": "4:memory:/docker\n2:cpu,cpuacct:/docker/x\n1:name=systemd:/docker\n0::/",
            "cgroup/memory/docker/memory.limit_in_bytes": "500000000",
            "cgroup/cpu,cpuacct/docker/x/cpu.cfs_quota_us": "-1",
            "cgroup/cpu,cpuacct/docker/x/cpu.cfs_period_us": "100000",
            "cgroup/cpu,cpuacct/docker/cpu.cfs_quota_us": "50000",
            "cgroup/cpu,cpuacct/docker/cpu.cfs_period_us": "100000",
        },
    )
    assert limits(tmp_path) == (0.5, 500_000_000)


def test_a_host_without_control_groups(tmp_path: Path) -> None:
    assert list(worker_count.own_groups(tmp_path / "self", tmp_path)) == []


def test_a_start_script_asks_it() -> None:
    told = subprocess.run(
        [sys.executable, FILE, "auto", "100%", "", "2", "1"], capture_output=True, text=True, check=True, env={}
    )
    assert told.stdout == "3\n"
