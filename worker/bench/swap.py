"""`moodstream bench swap`: what posts wait while the model that answers them is swapped, on a real Kafka.

Posts are sent by a schedule (see `latency`) at a share of the worker's capacity. Meanwhile two models that
differ in their version alone are promoted in turn, and once one whose weights were damaged. What posts wait
that were due from a promotion to the worker's answer, and a second beyond, is held against all others.
"""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from worker.bench.latency import Load, Reader, schedule, send
from worker.bench.operated import PATIENCE_S, operated
from worker.clock import SystemClock
from worker.control.follow import watched
from worker.control.promote import promoted
from worker.errors import DependencyError
from worker.model.artifact import load, write_manifest
from worker.settings import Settings

_SETTLING_S = 1.0
_VERSIONS = ("bench-a", "bench-b")
_DAMAGED = "bench-damaged"


class Found(msgspec.Struct, frozen=True):
    """What a run gave."""

    capacity: float
    """Posts per second while more are sent than the worker can label, without swaps."""
    posts_per_s: float
    posts: int
    lost: int
    doubled: int
    promotions: int
    """Carried out."""
    refused: int
    swap_s: float
    """Median time from a promotion to the worker's answer."""
    p99_steady_ms: float
    p99_swap_ms: float
    """Of posts due while the model was being swapped."""
    swap_posts: int
    by_model: dict[str, int]
    """Labels by the model that they name."""


def run(
    settings: Settings,
    model: Path,
    texts: Sequence[str],
    *,
    share: float,
    seconds: float,
    promotions: int,
    bootstrap: str | None,
    capacity_posts: int,
) -> Found:
    """Measure one worker's capacity, then swap its model while posts come at a share of it.

    Raises:
        DependencyError: the worker or Kafka failed, or did not answer a promotion.
    """
    stocked = partial(_stock, model)
    with operated(settings, stocked, texts, bootstrap=bootstrap, capacity_posts=capacity_posts) as one:
        due = schedule(Load(texts, share * one.capacity, seconds))
        run_id = f"swap-{time.time_ns()}"
        reader = Reader(one.servers, one.at.out, run_id, len(due))
        due = due + reader.start()
        sending = (one.servers, one.topic, run_id, texts, due)
        sender = threading.Thread(target=send, args=sending, daemon=True)
        sender.start()
        swaps = list(_swaps(one.settings, promotions, seconds, until=float(due[-1])))
        sender.join()
        arrived = reader.finish(PATIENCE_S)
    return _found(one.capacity, due, arrived, reader, swaps)


class _Swap(msgspec.Struct):
    start: float
    end: float
    refused: bool


def _swaps(settings: Settings, promotions: int, seconds: float, *, until: float) -> Iterator[_Swap]:
    """One promotion after the other, evenly over the time; that in the middle is of the damaged model."""
    clock = SystemClock()
    every_s = seconds / (promotions + 1)
    names = [f"bench@{_VERSIONS[number % 2]}" for number in range(promotions)]
    names[len(names) // 2] = f"bench@{_DAMAGED}"
    shown = track(names, console=Console(stderr=True), description="swapping")
    with watched(settings, wait_s=PATIENCE_S) as board:
        for name in shown:
            time.sleep(max(0.0, min(every_s, until - time.monotonic())))
            start = time.monotonic()
            outcome = promoted(settings, board, name, within_s=PATIENCE_S, clock=clock)
            if outcome.silent:
                raise DependencyError("the worker", f"did not answer the promotion of {name}")
            yield _Swap(start, time.monotonic(), bool(outcome.refused))


def _found(
    capacity: float,
    due: NDArray[np.float64],
    arrived: NDArray[np.float64],
    reader: Reader,
    swaps: Sequence[_Swap],
) -> Found:
    answered = np.isfinite(arrived)
    waits = 1000 * (arrived - due)
    swapping = np.zeros(len(due), dtype=bool)
    for swap in swaps:
        swapping |= (due >= swap.start) & (due <= swap.end + _SETTLING_S)
    done = [swap for swap in swaps if not swap.refused]
    return Found(
        capacity=round(capacity, 1),
        posts_per_s=round(len(due) / float(due[-1] - due[0]), 1),
        posts=len(due),
        lost=int((~answered).sum()),
        doubled=reader.doubled,
        promotions=len(done),
        refused=len(swaps) - len(done),
        swap_s=round(float(np.median([swap.end - swap.start for swap in swaps])), 2),
        p99_steady_ms=round(float(np.quantile(waits[answered & ~swapping], 0.99)), 1),
        p99_swap_ms=round(float(np.quantile(waits[answered & swapping], 0.99)), 1),
        swap_posts=int((answered & swapping).sum()),
        by_model={name: reader.models.count(name) for name in sorted(set(reader.models) - {""})},
    )


def _stock(model: Path, store: Path) -> None:
    """The model under two versions, and under a third with one bit of its weights turned over."""
    for version in (*_VERSIONS, _DAMAGED):
        folder = store / version
        shutil.copytree(model, folder)
        manifest = load(folder).manifest
        write_manifest(folder, msgspec.structs.replace(manifest, name="bench", version=version))
    weights = store / _DAMAGED / "model.safetensors"
    raw = bytearray(weights.read_bytes())
    raw[-1] ^= 1
    weights.write_bytes(raw)
