from __future__ import annotations

import os
from pathlib import Path

import pytest

from worker.model.cores import usable_cores


@pytest.fixture(autouse=True)
def eight_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)


def written(folder: Path, files: dict[str, str]) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)
    return folder


@pytest.mark.parametrize(
    ("limit", "cores"),
    [("max 100000", 8), ("200000 100000", 2), ("150000 100000", 2), ("5000 100000", 1), ("900000 100000", 8)],
)
def test_a_container_gets_as_many_cores_as_its_share_of_time(tmp_path: Path, limit: str, cores: int) -> None:
    written(tmp_path, {"own": "0::/\n", "cpu.max": f"{limit}\n"})

    assert usable_cores(tmp_path, tmp_path / "own") == cores


def test_the_least_of_all_groups_around_it_counts(tmp_path: Path) -> None:
    limits = {"pods/cpu.max": "300000 100000", "pods/mine/cpu.max": "max 100000"}
    written(tmp_path, {"own": "0::/pods/mine\n", **limits})

    assert usable_cores(tmp_path, tmp_path / "own") == 3


@pytest.mark.parametrize(("quota", "cores"), [("400000", 4), ("-1", 8)])
def test_the_first_version_of_control_groups_is_read_too(tmp_path: Path, quota: str, cores: int) -> None:
    """In a container its path is that of the host, and what is there are its own limits."""
    limits = {"cpu.cfs_quota_us": f"{quota}\n", "cpu.cfs_period_us": "100000\n"}
    written(tmp_path / "cpu,cpuacct", limits)
    written(tmp_path, {"own": "5:memory:/docker/abc\n4:cpu,cpuacct:/docker/abc\n"})

    assert usable_cores(tmp_path, tmp_path / "own") == cores


def test_where_there_is_no_linux_all_cores_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 5)

    assert usable_cores(tmp_path, tmp_path / "own") == 5


@pytest.mark.parametrize("nonsense", ["", "a b", "1 0", "1 2 3"])
def test_what_cannot_be_read_is_no_limit(tmp_path: Path, nonsense: str) -> None:
    written(tmp_path, {"own": "0::/\n", "cpu.max": nonsense})

    assert usable_cores(tmp_path, tmp_path / "own") == 8
