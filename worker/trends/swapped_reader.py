"""Reading trends with what is swapped in: what people are shown. Alerts look only at what is counted live."""

from __future__ import annotations

from copy import copy

from worker.trends.backfills import places_of
from worker.trends.places import Places
from worker.trends.redis_connection import reaching
from worker.trends.redis_reader import RedisTrendReader


class SwappedTrendReader(RedisTrendReader):
    """A `TrendReader` on Redis in which backfills that are swapped in answer for their days.

    How labels are spread, how many were late and which are to be reviewed (corrections are of live labels) is
    always of what is counted live.
    """

    _steady: Places | None = None

    def steady(self) -> SwappedTrendReader:
        with reaching():
            places = self._places()
        steady = copy(self)
        steady._steady = places
        return steady

    def _places(self) -> Places:
        if self._steady is not None:
            return self._steady
        with self._client.pipeline() as pipeline:
            pipeline.hget(self._keys.state, "generation")
            pipeline.get(self._keys.swaps)
            return places_of(self._keys, *pipeline.execute())
