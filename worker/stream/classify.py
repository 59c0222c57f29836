"""`POST /classify`: texts labelled by the model that labels the stream, for whoever cannot wait for a topic.

They wait in a queue (`request_queue`) and are answered between the batches of the stream. Nothing of a text
is logged, counted by content or kept.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any, Literal

import msgspec
from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel, Field

from worker import metrics as m
from worker.clock import Clock
from worker.metrics import Metrics
from worker.settings import WorkerSettings
from worker.stream.decode import is_empty, not_json
from worker.stream.request_queue import Answer, NoAnswerError, NotNowError, RequestQueue
from worker.types import LabelName
from worker.web.limits import MOST_BODY_BYTES
from worker.web.problems import Problem, RequestError
from worker.web.token import REFUSALS, token_guard

MOST_CHARACTERS = 16_384
"""Of one text. The model reads the first hundred words or so, of a post as well."""

_ENCODE = msgspec.json.Encoder().encode


class BadTextsError(RequestError):
    """A request that holds no texts to label; `kind` is a dead letter's, where a post would become one."""

    def __init__(self, status: int, kind: str, message: str, **more: object) -> None:
        super().__init__(message, **more)
        self.status = status
        self.kind = kind


class _Body(msgspec.Struct, forbid_unknown_fields=True):
    texts: list[Any]


_BODY = msgspec.json.Decoder(_Body)


class Texts(BaseModel):
    """What to label."""

    texts: list[str] = Field(
        min_length=1,
        description=f"At most `worker.classify.max_texts`, each of 1 to {MOST_CHARACTERS:,} characters and "
        f"not white space alone; the body has at most {MOST_BODY_BYTES:,} bytes.",
        examples=[["what a day!", "I miss you so much"]],
    )


class EmotionScores(BaseModel):
    """Calibrated probabilities of the six emotions; they add up to 1."""

    sadness: float
    joy: float
    love: float
    anger: float
    fear: float
    surprise: float


class LabelledText(BaseModel):
    """What a text expresses; the fields are those of a label in `emotion-labels`."""

    label: LabelName
    score: float = Field(description="Probability of the label: of the emotion among the six, or of neutral.")
    scores: EmotionScores
    neutral: float = Field(description="Probability that none of the six is expressed.")
    model: str = Field(description="`name@version` of the model that answered.")


class LabelledTexts(BaseModel):
    """The labels."""

    labels: list[LabelledText] = Field(description="One for each text, in their order.")


class ClassifyAnswer(BaseModel):
    """What the texts express."""

    status: Literal["success"] = "success"
    data: LabelledTexts


class TextProblem(Problem):
    """Why the texts cannot be labelled."""

    index: int | None = Field(default=None, description="Which text it is about, counted from 0.")


_REQUEST = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": Texts.model_json_schema()}},
    }
}
"""Said here, because the body is read as the stream reads a post, and not by FastAPI."""
_ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {"model": ClassifyAnswer},
    400: {"model": Problem, "description": "The body is no JSON: `invalid_json` or `invalid_utf8`."},
    401: {**REFUSALS[401], "description": "The worker has a token, and this is not it: `unauthorized`."},
    413: {
        "model": TextProblem,
        "description": "Too many texts, one that is too long, or too large a body: `too_large`.",
    },
    415: {"model": Problem, "description": "The Content-Type is not application/json: `bad_request`."},
    422: {
        "model": TextProblem,
        "description": "No texts, or one that the stream would put with the dead letters: `wrong_type` or "
        "`empty_text`.",
    },
    500: {"model": Problem, "description": "The model fails on one of the texts: `model_error`."},
    503: {
        "model": Problem,
        "description": "The stream leaves no time, too many texts wait, or the worker starts or ends: "
        "`unavailable`; ask again after Retry-After.",
    },
}


def open_queue(
    worker: WorkerSettings, metrics: Metrics, clock: Clock
) -> tuple[RequestQueue | None, Sequence[APIRouter]]:
    """Where texts wait for the model, and the routes that bring them; neither where the settings say off."""
    classify = worker.classify
    if classify.enabled == "off":
        return None, ()
    queue = RequestQueue(places=classify.queue_texts, wait_s=classify.wait_s, monotonic=clock.monotonic)
    return queue, [classify_router(queue, worker, metrics, clock)]


def classify_router(queue: RequestQueue, worker: WorkerSettings, metrics: Metrics, clock: Clock) -> APIRouter:
    """The route. It asks for the worker's token where the settings hold one."""
    router = APIRouter(tags=["classify"])
    requests = metrics.counter(m.CLASSIFY_REQUESTS)
    texts_answered = metrics.counter(m.CLASSIFY_TEXTS)
    seconds = metrics.histogram(m.CLASSIFY_SECONDS)
    guards = [] if worker.http.token is None else [Depends(token_guard(worker.http, "worker.http.token"))]

    @router.post(
        "/classify",
        response_class=Response,
        responses=_ANSWERS,
        dependencies=guards,
        openapi_extra=_REQUEST,
        summary="What texts express",
    )
    async def classify(request: Request) -> Response:
        """Takes `{"texts": ["...", ...]}` and gives a label for each text, in their order.

        The model is the one that labels the stream, which goes first. Wants the worker's token where
        `worker.http.token` is set; is there where `worker.classify.enabled` is on.
        """
        start = clock.monotonic()
        try:
            texts = texts_of(await _body(request), worker.classify.max_texts)
            answers = await _answer(queue, texts)
        except RequestError as error:
            requests.labels(_outcome(error)).inc()
            raise
        requests.labels("answered").inc()
        texts_answered.inc(len(answers))
        seconds.observe(clock.monotonic() - start)
        body = _ENCODE({"status": "success", "data": {"labels": answers}})
        return Response(body, media_type="application/json")

    return router


async def _body(request: Request) -> bytes:
    """A web page may have its visitor's browser send some other types to any address, unasked; never JSON."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise BadTextsError(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "bad_request", "send Content-Type: application/json"
        )
    return await request.body()


async def _answer(queue: RequestQueue, texts: Sequence[str]) -> Sequence[Answer]:
    """The answer, or why there is none; the queue's own clock does not go on where the model hangs."""
    waiting = queue.ask(texts)
    try:
        async with asyncio.timeout(queue.wait_s):
            return await asyncio.wrap_future(waiting)
    except TimeoutError:
        raise queue.overdue() from None


def _outcome(error: RequestError) -> str:
    if isinstance(error, NotNowError):
        return error.outcome
    return "failed" if isinstance(error, NoAnswerError) else "refused"


def texts_of(body: bytes, most: int) -> list[str]:
    """The texts of a request's body, `most` at most.

    Raises:
        BadTextsError: there are none, or one cannot be labelled.
    """
    try:
        texts = _BODY.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        bad = not_json(body, error)
        if bad is not None:
            raise BadTextsError(400, bad.kind, bad.reason) from None
        raise BadTextsError(422, "wrong_type", f'send {{"texts": ["...", ...]}}: {error}') from None
    return _checked(texts.texts, most)


def _checked(texts: Sequence[Any], most: int) -> list[str]:
    if not texts:
        raise BadTextsError(422, "wrong_type", "texts must hold at least one text")
    if len(texts) > most:
        raise BadTextsError(413, "too_large", f"{len(texts)} texts: a request has at most {most}")
    for index, text in enumerate(texts):
        if not isinstance(text, str):
            raise BadTextsError(422, "wrong_type", f"texts[{index}]: must be a string", index=index)
        if is_empty(text):
            reason = f"texts[{index}]: the text is empty or white space"
            raise BadTextsError(422, "empty_text", reason, index=index)
        if len(text) > MOST_CHARACTERS:
            reason = f"texts[{index}]: has {len(text)} characters: a text has at most {MOST_CHARACTERS}"
            raise BadTextsError(413, "too_large", reason, index=index)
    return list(texts)
