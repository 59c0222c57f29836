"""A model in a process of its own, on the time that nobody else wants: for what must not slow a stream down.

In the stream's own process a second model would take turns with the first for the interpreter, and the system
would give both the same share of the processors. A process can be told to stand back, and when it fails
nothing else does. It costs the memory of a second runtime.

Parent and child speak through the child's standard input and output: texts one way, the places of their
labels the other. The child ends when its input does, so that it outlives nobody, killed or not.
"""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, cast

import msgspec
import numpy as np
from numpy.typing import NDArray

from worker.clock import backoff
from worker.errors import MoodstreamError
from worker.model.artifact import load as load_artifact
from worker.model.backend import BackendName
from worker.model.classifier import Classifier, load

_LENGTH = struct.Struct("<I")
_LOWEST = 19
"""Nice: beside a usual process that never pauses it gets 1.5% of the time."""
_END_S = 5.0
_OURS = "MOODSTREAM_"
"""Settings, secrets among them, that the child has no use for."""


class ModelProcessError(MoodstreamError):
    """The model's process did not answer."""


class Order(msgspec.Struct, frozen=True):
    """What the child is to load."""

    path: str
    backend: BackendName = "auto"
    streams: int = 0
    gate: bool = True


class _Answer(msgspec.Struct, frozen=True):
    labels: list[int] = []
    """Of each text, its place in `LABELS`."""
    failed: str | None = None
    """Instead of labels, what kind of error it was; never its message, which may hold a text."""


class ModelProcess:
    """The parent's side. `labels` is for one thread; `close` may come from any."""

    def __init__(self, name: str, order: Order, monotonic: Callable[[], float]) -> None:
        """The process starts with `open`, or when it is first asked.

        Args:
            name: The model's `name@version`.
            order: What to load.
            monotonic: A clock, in seconds.
        """
        self.name = name
        self._order = order
        self._monotonic = monotonic
        self._waits = _waits()
        self._again_at = 0.0
        self._closing = threading.Event()
        self._child: subprocess.Popen[bytes] | None = None

    def labels(self, texts: Sequence[str]) -> NDArray[np.intp]:
        """(n,) the place in `LABELS` of each text's label.

        Raises:
            ModelProcessError: there is no answer. A process that has ended is started anew, after a while
                if it ends again and again.
        """
        given = self._ask(self._ready(), list(texts))
        self._waits = _waits()
        return np.asarray(given, dtype=np.intp)

    def open(self) -> None:
        """Start it, and wait until the model is warm; for the thread of `labels`.

        Raises:
            ModelProcessError: it does not start, or has ended too often.
        """
        self._ready()

    def close(self) -> None:
        """End the process; whoever waits for its answer gets an ModelProcessError."""
        self._closing.set()
        if self._child is not None:
            _end(self._child)

    def _ready(self) -> subprocess.Popen[bytes]:
        child = self._child
        return self._begin() if child is None or child.poll() is not None else child

    def _begin(self) -> subprocess.Popen[bytes]:
        now = self._monotonic()
        if self._closing.is_set() or now < self._again_at:
            raise ModelProcessError(f"the process of {self.name} has ended")
        self._again_at = now + next(self._waits)
        if self._child is not None:
            _end(self._child)
        self._child = child = subprocess.Popen(  # noqa: S603 - this program again
            [sys.executable, "-m", __name__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={name: value for name, value in os.environ.items() if not name.startswith(_OURS)},
            start_new_session=True,  # signals of a terminal are for the parent
        )
        if self._closing.is_set():
            _end(child)
        try:
            self._ask(child, self._order)
        except ModelProcessError:
            _end(child)
            raise
        return child

    def _ask(self, child: subprocess.Popen[bytes], what: object) -> list[int]:
        sending, receiving = cast("BinaryIO", child.stdin), cast("BinaryIO", child.stdout)
        try:
            _write(sending, msgspec.msgpack.encode(what))
            answer = _read(receiving)
        except (OSError, ValueError) as error:  # ValueError: closed by `close` in the middle
            raise ModelProcessError(f"the process of {self.name} has ended") from error
        if answer is None:
            raise ModelProcessError(f"the process of {self.name} has ended")
        found = msgspec.msgpack.decode(answer, type=_Answer)
        if found.failed is not None:
            raise ModelProcessError(f"{self.name} failed: {found.failed}")
        return found.labels


def _waits() -> Iterator[float]:
    return backoff(first_s=1.0, ceiling_s=60.0)


def _end(child: subprocess.Popen[bytes]) -> None:
    child.kill()  # it holds nothing that could be lost
    with suppress(subprocess.TimeoutExpired):
        child.wait(_END_S)
    for pipe in (child.stdin, child.stdout):
        with suppress(OSError):
            cast("BinaryIO", pipe).close()


def _write(pipe: BinaryIO, frame: bytes) -> None:
    pipe.write(_LENGTH.pack(len(frame)) + frame)
    pipe.flush()


def _read(pipe: BinaryIO) -> bytes | None:
    """The next frame; None at the end."""
    head = pipe.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        return None
    (length,) = _LENGTH.unpack(head)
    frame = pipe.read(length)
    return frame if len(frame) == length else None


def stand_back() -> None:
    """From now on this process gets hardly more than the processor time that is left over.

    Its threads do so one by one, and those that they start as well. Where the system shares the processors
    between sessions (Linux's autogroup), the session does. What a system does not know or allow is left out.
    """
    with suppress(OSError):
        Path("/proc/self/autogroup").write_text(str(_LOWEST))
    with suppress(OSError):
        for thread in Path("/proc/self/task").iterdir():
            os.setpriority(os.PRIO_PROCESS, int(thread.name), _LOWEST)


def _loaded(order: Order) -> Classifier:
    return load(load_artifact(Path(order.path)), order.backend, streams=order.streams, gate=order.gate)


def _answers(pipe: BinaryIO, out: BinaryIO) -> None:
    """The child's side: load what is ordered, then label what is asked, until there is nothing to read."""
    order = _read(pipe)
    if order is None:
        return
    try:
        model = _loaded(msgspec.msgpack.decode(order, type=Order))
    except Exception as error:  # the parent says what it means
        _write(out, msgspec.msgpack.encode(_Answer(failed=type(error).__name__)))
        return
    stand_back()  # not before: with processors that are never idle it would load for minutes
    _write(out, msgspec.msgpack.encode(_Answer()))
    while (asked := _read(pipe)) is not None:
        try:
            texts = msgspec.msgpack.decode(asked, type=list[str])
            answer = _Answer(labels=model.classify(model.prepare(texts)).label.tolist())
        except Exception as error:
            answer = _Answer(failed=type(error).__name__)
        _write(out, msgspec.msgpack.encode(answer))


def main() -> None:
    """What a child runs."""
    out = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what a library prints is no answer
    with suppress(BrokenPipeError):  # the parent is gone
        _answers(sys.stdin.buffer, out)


if __name__ == "__main__":
    main()
