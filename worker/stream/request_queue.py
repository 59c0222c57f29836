"""Texts that somebody asks about, waiting for the model of the stream.

They reach it by the one thread that the model has, a few at a time, and only while no batch of the stream
waits at its door (`model_stage`). What they ask can therefore make a batch wait for one small call and no
longer, and a stream that takes all of the model's time leaves them none: a request waits for so long and is
then refused.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import ClassVar, Literal, NamedTuple

import msgspec
import numpy as np

from worker.stream.edges import Model
from worker.stream.limits import MODEL_ERROR
from worker.stream.outcome import rows_of, score_of
from worker.types import LABELS, Classified, LabelName, Scores
from worker.web.problems import RequestError

MOST_AT_ONCE = 32
"""Texts of one model call: about 30 ms on two cores, the longest that a batch may find it taken."""
_MOST_CHARACTERS = 16_384
"""Of one model call, unless one text has more: unknown words cost some us each."""
_CLOSE_S = 2.0

Outcome = Literal["full", "overdue", "closed"]

log = logging.getLogger(__name__)


class NotNowError(RequestError):
    """Nothing is wrong with the request; it may be asked again."""

    status = 503
    kind = "unavailable"
    headers: ClassVar = {"Retry-After": "1"}

    def __init__(self, outcome: Outcome, message: str) -> None:
        super().__init__(message)
        self.outcome = outcome


class NoAnswerError(RequestError):
    """The model fails on the texts; where the stream has such a post, it becomes a dead letter."""

    status = 500
    kind = MODEL_ERROR


class Answer(msgspec.Struct, frozen=True):
    """What a text expresses; the fields are those of a label."""

    label: LabelName
    score: float
    scores: Scores
    neutral: float
    model: str


class _Request:
    """Texts that are answered together, though perhaps not by one call."""

    def __init__(self, texts: Sequence[str], deadline: float) -> None:
        self.texts = texts
        self.deadline = deadline
        self.future: Future[list[Answer]] = Future()
        self.answers: list[Answer] = []
        self.alone = False
        """A call that it was part of failed: it shares none with others again."""

    @property
    def left(self) -> Sequence[str]:
        return self.texts[len(self.answers) :]

    def fail(self, error: RequestError) -> None:
        if self.future.set_running_or_notify_cancel():
            self.future.set_exception(error)


class _Piece(NamedTuple):
    """What one call answers of a request."""

    request: _Request
    texts: Sequence[str]


class RequestQueue:
    """Requests in the order they came. `ask` may be called from any thread, `turn` is for the model's."""

    def __init__(self, *, places: int, wait_s: float, monotonic: Callable[[], float]) -> None:
        """`places`: most texts that wait. `wait_s`: longest time until a request is answered."""
        self.wait_s = wait_s
        self._places = places
        self._monotonic = monotonic
        self._waiting: deque[_Request] = deque()
        self._lock = threading.Lock()
        self._turning = threading.Lock()
        self._wake: Callable[[], object] | None = None
        self._awake = False
        """Whether a turn is on its way: there is never more than one."""
        self._why_closed = "the worker is starting"

    def open(self, wake: Callable[[], object]) -> None:
        """Take requests from now on. `wake` sees to it that there is a `turn`; it must not come back here."""
        with self._lock:
            self._wake = wake

    def close(self) -> None:
        """Refuse what waits and what comes; a turn that has begun is waited for, for some seconds."""
        with self._lock:
            self._wake, self._why_closed = None, "the worker is ending"
            while self._waiting:
                self._waiting.popleft().fail(self._closed())
        if self._turning.acquire(timeout=_CLOSE_S):  # so that nobody closes the model under its feet
            self._turning.release()

    def ask(self, texts: Sequence[str]) -> Future[list[Answer]]:
        """The answer to come for at least one text; cancel it when nobody wants it any more.

        The future fails with NotNowError or NoAnswerError.

        Raises:
            NotNowError: too many wait, or there is no model (yet, or any more).
        """
        with self._lock:
            if self._wake is None:
                raise self._closed()
            self._forget()
            if self._waiting and self._texts() + len(texts) > self._places:
                raise NotNowError("full", f"more than {self._places} texts would wait: ask again")
            request = _Request(texts, self._monotonic() + self.wait_s)
            self._waiting.append(request)
            if not self._awake:
                self._awake = True
                self._wake()
            return request.future

    def turn(self, model: Model) -> bool:
        """Let the model answer some texts; whether there has to be another turn."""
        with self._turning:
            pieces = self._next()
            if pieces:
                try:
                    answer = _asked(model, [text for piece in pieces for text in piece.texts])
                    self._answered(pieces, answer, model.name)
                except Exception as error:
                    self._failed(pieces, error)
            with self._lock:
                self._awake = bool(self._waiting)
                return self._awake

    def expire(self) -> None:
        """There is no turn for now: refuse those that have waited long enough."""
        with self._lock:
            self._forget()

    def _next(self) -> list[_Piece]:
        """What the next call answers: requests in their order, until it has as much as a call may have."""
        pieces: list[_Piece] = []
        room, characters = MOST_AT_ONCE, _MOST_CHARACTERS
        with self._lock:
            self._forget()
            for request in self._waiting:
                if pieces and (request.alone or pieces[0].request.alone):
                    break
                texts: list[str] = []
                for text in request.left[:room]:
                    characters -= len(text)
                    if characters < 0 and (pieces or texts):
                        break
                    texts.append(text)
                room -= len(texts)
                if texts:
                    pieces.append(_Piece(request, texts))
                if not room or characters < 0:
                    break
        return pieces

    def _answered(self, pieces: list[_Piece], answer: Classified, model: str) -> None:
        rows = list(rows_of(answer))
        finite = (np.isfinite(answer.scores).all(axis=1) & np.isfinite(answer.neutral)).tolist()
        start = 0
        for request, texts in pieces:
            end = start + len(texts)
            if all(finite[start:end]):
                request.answers += [
                    Answer(LABELS[row[2]], score_of(row), Scores(*row[0]), row[1], model)
                    for row in rows[start:end]
                ]
                if not request.left:
                    self._finish(request)
            else:
                bad = len(request.answers) + finite[start:end].index(False)
                self._give_up(request, f"texts[{bad}]: the model's answer is not finite")
            start = end

    def _failed(self, pieces: list[_Piece], error: Exception) -> None:
        """Whose text it is shows when each request is asked about by itself, a turn each."""
        if len(pieces) > 1:
            for request, _ in pieces:
                request.alone = True
            return
        self._give_up(pieces[0].request, f"the model fails ({type(error).__name__}) on one of the texts")

    def _finish(self, request: _Request) -> None:
        if self._taken_out(request) and request.future.set_running_or_notify_cancel():
            request.future.set_result(request.answers)

    def _give_up(self, request: _Request, reason: str) -> None:
        log.warning("a request of %d texts was not answered: %s", len(request.texts), reason)
        if self._taken_out(request):
            request.fail(NoAnswerError(reason))

    def _taken_out(self, request: _Request) -> bool:
        """Whether it was still waiting: who takes a request out, and nobody else, says what became of it."""
        with self._lock:
            if request not in self._waiting:
                return False
            self._waiting.remove(request)
            return True

    def _forget(self) -> None:
        """Drop the requests that nobody waits for any more, or that have waited long enough."""
        now = self._monotonic()
        for request in [one for one in self._waiting if one.future.done() or now >= one.deadline]:
            self._waiting.remove(request)
            if not request.future.done():
                request.fail(self.overdue())

    def overdue(self) -> NotNowError:
        """What a request is refused with that has waited long enough."""
        return NotNowError("overdue", f"the stream left no time for it within {self.wait_s:g} s: ask again")

    def _closed(self) -> NotNowError:
        return NotNowError("closed", f"{self._why_closed}: ask again")

    def _texts(self) -> int:
        return sum(len(request.left) for request in self._waiting)


def _asked(model: Model, texts: Sequence[str]) -> Classified:
    """The model's answer.

    Raises:
        Exception: whatever the model raises.
        ValueError: it has another number of rows.
    """
    answer = model.classify(model.prepare(texts))
    if any(len(column) != len(texts) for column in answer):
        raise ValueError(f"{len(answer.label)} answers for {len(texts)} texts")
    return answer
