"""`GET /api/live`: labels as they are counted, as server-sent events."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Annotated

import msgspec
from fastapi import APIRouter, Depends, Query
from fastapi.sse import EventSourceResponse, ServerSentEvent
from pydantic import BaseModel, ConfigDict, Field

from worker.clock import Clock
from worker.trends.api.ask import NARROWED_ERRORS
from worker.trends.live.hub import MOST_LISTENERS, PER_SECOND, Hub, Listener, LiveLabel, Wanted
from worker.trends.queries import QueryStore, UnknownQueryError
from worker.trends.store import Filter
from worker.web.problems import BadQueryError, NotFoundError

_LOOK_S = 0.1
"""How late a label may be for having waited here."""
_TICK_S = 1.0

_encode = msgspec.json.Encoder().encode


class LiveQuery(BaseModel):
    """Which labels; one of the three at a time."""

    model_config = ConfigDict(extra="forbid")

    source: str | None = Field(default=None, description="Only posts of this source.")
    lang: str | None = Field(default=None, description="Only posts in this language.")
    query: str | None = Field(
        default=None, description="Only posts that match the tracked query of this name."
    )


def live_router(hub: Hub, queries: QueryStore, clock: Clock) -> APIRouter:
    """The route of the stream. It ends when the hub closes; clients then connect anew."""
    router = APIRouter(prefix="/api", tags=["live"])

    def listening(asked: Annotated[LiveQuery, Query()]) -> Iterator[Listener]:
        # In a dependency, because what is refused must be refused before the stream begins.
        with hub.listen(_wanted(asked, queries)) as listener:
            yield listener

    @router.get(
        "/live",
        response_class=EventSourceResponse,
        responses=NARROWED_ERRORS,
        summary="Labels as they are counted",
        description=f"""Server-sent events:

- `label`: `id`, `label`, `score`, `source`, `created_at`, `label_ref` and where there are `lang` and `text`.
  At most {PER_SECOND} a second; of more, some.
- `tick`, once a second: `counted` (labels counted since the last tick, whatever was asked for), `shown`
  (labels sent to you) and `lost` (labels that were on their way to you and made room for newer ones, because
  you or the limit are slow).

Nothing is sent again: what a client missed is in the counts. At most {MOST_LISTENERS} listen at once; more
are refused with 503 and Retry-After.""",
    )
    async def live(listener: Listener = Depends(listening)) -> AsyncIterator[ServerSentEvent]:  # noqa: B008
        ticked = clock.monotonic()
        yield ServerSentEvent(comment="moodstream", retry=2000)
        while not hub.closed:
            for label in listener.take():
                yield ServerSentEvent(event="label", raw_data=_label(label))
            if clock.monotonic() - ticked >= _TICK_S:
                ticked = clock.monotonic()
                yield ServerSentEvent(event="tick", raw_data=_encode(listener.tick()).decode())
            await asyncio.sleep(_LOOK_S)

    return router


def _label(label: LiveLabel) -> str:
    return _encode(msgspec.structs.replace(label, queries=())).decode()


def _wanted(asked: LiveQuery, queries: QueryStore) -> Wanted:
    try:
        narrowed = Filter(source=asked.source, lang=asked.lang, query=asked.query)
        query = None if narrowed.query is None else queries.find(narrowed.query).id
    except ValueError as error:
        raise BadQueryError(str(error)) from None
    except UnknownQueryError as error:
        raise NotFoundError(str(error)) from None
    return Wanted(narrowed.source, narrowed.lang, query)
