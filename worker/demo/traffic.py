"""The thread that sends and reads, and does nothing else: the latencies it measures are not its own."""

from __future__ import annotations

import threading
from types import TracebackType
from typing import Self

from worker.demo.reader import Reader
from worker.demo.sender import Sender

_IDLE_S = 0.02


class Traffic:
    """Runs a sender and a reader while the `with` block runs; what goes wrong in it is raised by `check`."""

    def __init__(self, sender: Sender, reader: Reader) -> None:
        self._sender = sender
        self._reader = reader
        self._quiet = threading.Event()
        self._silent = threading.Event()
        self._closing = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="traffic", daemon=True)

    def check(self) -> None:
        """Raise what the thread has died of."""
        if self._failure is not None:
            raise self._failure

    @property
    def live(self) -> bool:
        """Whether posts are sent at the rate; before, those of the past are."""
        return self._sender.live

    def stop_sending(self) -> None:
        """Send nothing more, read on; returns when the last record is in the books."""
        self._quiet.set()
        while not self._silent.wait(_IDLE_S) and self._thread.is_alive():
            pass

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing.set()
        self._thread.join()
        self._sender.close()
        self._reader.close()

    def _run(self) -> None:
        try:
            while not self._closing.is_set():
                self._reader.take(min(self._send(), _IDLE_S))
        except BaseException as error:
            self._failure = error

    def _send(self) -> float:
        """Answers how long there is time to read."""
        if self._quiet.is_set():
            self._silent.set()
            return _IDLE_S
        return self._sender.send_due()
