"""The loop that everything goes through: the stream, the demo, evaluation and replay.

    1. consume    records of the assigned partitions, in the order of their offsets
    2. decode     each becomes a post with its token ids, a deletion, or a bad record
    3. batch      until the token budget is reached or the first record has waited long enough
    4. classify   in the model's thread, while steps 1 to 3 prepare the next batch
    5. publish    labels, tombstones and dead letters
    6. commit     the offsets of the batch, in the same transaction as step 5

What has been taken and is not committed lives only in the builder (step 3) and the model stage (step 4). So
there is one answer to every trouble: forget both and go back to what is committed.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Collection
from datetime import UTC, datetime
from functools import partial

from worker.clock import Clock, backoff
from worker.errors import BadRecordError
from worker.stream.batch import Batch, BatchBuilder, Entry
from worker.stream.decode import decode, written_at
from worker.stream.decoders import Decode
from worker.stream.edges import AbortedError, Model, Publisher, Source, Watcher
from worker.stream.limits import NO_LIMIT, Limits
from worker.stream.meter import Meter
from worker.stream.model_stage import IN_A_ROW, Answered, ModelStage, prepare
from worker.stream.outcome import Destination, outgoing
from worker.stream.request_queue import RequestQueue
from worker.stream.traces import UNTRACED, Leaving, Traces
from worker.types import Post, Record, TopicPartition

_TAKE = 1024
"""Most records of one call: decoding them takes about 10 ms, so that the model's answer never waits long."""
_IDLE_S = 0.2
_BUSY_S = 0.002
_MODEL_WAIT_S = 1.0
"""Longer than a usual batch, far below any session timeout."""

log = logging.getLogger(__name__)


class Loop:
    """Steps 1 to 6, over any source and publisher."""

    def __init__(
        self,
        *,
        source: Source,
        publisher: Publisher,
        model: Model,
        builder: BatchBuilder,
        destination: Destination,
        clock: Clock,
        meter: Meter,
        limits: Limits | None = None,
        in_a_row: int = IN_A_ROW,
        queue: RequestQueue | None = None,
        traces: Traces = UNTRACED,
        decode: Decode = decode,
    ) -> None:
        """Without `limits` no share of dead letters is too much.

        `queue`: texts that it answers too. `decode`: what a record holds; JSON where not given.
        """
        self._entry = _entry_of(decode)
        self._source = source
        self._publisher = publisher
        self._serving = model
        self._incoming: deque[Model] = deque()
        self._paused = False
        self._watcher: Watcher | None = None
        self._builder = builder
        self._destination = destination
        self._clock = clock
        self._meter = meter
        self._limits = limits or Limits(NO_LIMIT, NO_LIMIT)
        self._model = ModelStage(model, clock.monotonic, in_a_row)
        self._waits = backoff()
        self._queue = queue
        self._traces = traces

    def run(self, finished: Callable[[], bool], drain_s: float) -> None:
        """Run until `finished` says so, then publish and commit what is held, for `drain_s` seconds at most.

        Raises:
            DependencyError: a server refuses us for good.
            DataLossAvertedError: going on would lose or double records.
        """
        self._source.open(self._revoked)
        try:
            self._switch()  # nobody is answered by a model that is already replaced
            if self._queue is not None:
                self._model.serve(self._queue)
            while not finished():
                self.run_once()
                if finished():  # draining may go back to what is committed: there is then more to do
                    self._drain(self._clock.monotonic() + drain_s)
        finally:
            self._model.close()

    def run_once(self) -> None:
        """One turn. At most one batch is in the model, one waits for it, and one is in the builder."""
        self._switch()
        records = self._consume()  # 1
        self._builder.add(self._decode(records), self._clock.monotonic())  # 2
        answered = self._collect()
        self._submit(now=self._clock.monotonic())  # 3 and 4: the model works on while we publish
        if answered is not None:
            self._builder.took(answered.batch.tokens, answered.seconds)
            self._publish(answered)  # 5 and 6
        if answered is not None or not self._model.busy:
            self._meter.moved()  # a model that hangs is no movement, however many records come

    def serve(self, model: Model) -> None:
        """Answer with `model` from the next batch on, and close the one before it; from any thread."""
        self._incoming.append(model)

    def pause(self, paused: bool) -> None:
        """Take no records until told otherwise, and stay in the group; from any thread."""
        self._paused = paused

    @property
    def serving(self) -> Model:
        """What answers, once the loop has made a turn."""
        return self._incoming[-1] if self._incoming else self._serving

    def watch(self, watcher: Watcher | None) -> None:
        """Show every committed batch to `watcher`, on this thread; from any thread."""
        self._watcher = watcher

    def _switch(self) -> None:
        """Between two batches. The new model cuts anew what waits in the builder."""
        while self._incoming:
            old, self._serving = self._serving, self._incoming.popleft()
            self._builder.prepare_again(partial(prepare, self._serving))
            self._model.switch(self._serving, old.close)
            log.info("model %s serves from the next batch on, after %s", self._serving.name, old.name)

    def _consume(self) -> list[Record]:
        """Step 1. Fetches nothing while full batches wait for the model: this is the backpressure."""
        if self._paused:
            self._source.heartbeat()
            if not self._model.busy:
                self._clock.sleep(_IDLE_S)
            return []
        if self._builder.full:
            return []
        wait_s = self._builder.wait_s(self._clock.monotonic())
        if self._model.busy:
            return self._source.take(_TAKE, _BUSY_S)
        if wait_s is None:
            return self._source.take(1, _IDLE_S)
        return self._source.take(_TAKE, wait_s) if wait_s > 0 else []

    def _decode(self, records: list[Record]) -> list[Entry]:
        """Step 2."""
        if not records:
            return []
        with self._meter.step("decode"), self._traces.decoding(len(records)):
            entry = self._entry
            entries = [entry(record) for record in records]
            prepare(self._serving, entries)
        self._meter.took(entries, self._serving.was_cut)
        return entries

    def _collect(self) -> Answered | None:
        """The batch that the model has finished; waits for it only when there is nothing else to do."""
        if not (self._builder.full and self._model.full):
            return self._model.collect(0.0)
        answered = self._model.collect(_MODEL_WAIT_S)
        if answered is None and self._model.busy:
            self._source.heartbeat()
        return answered

    def _submit(self, now: float) -> None:
        """Steps 3 and 4. While the model is busy only full batches go: waiting costs them nothing."""
        due = self._builder.full if self._model.busy else self._builder.wait_s(now) == 0.0
        if due and not self._model.full:
            batch = self._cut()
            self._meter.batched(batch)
            self._model.submit(batch)

    def _cut(self) -> Batch:
        """Step 3."""
        batch = self._builder.take(self._clock.time())
        self._traces.cut(len(self._builder))
        return batch

    def _publish(self, answered: Answered) -> None:
        """Steps 5 and 6, unless nothing of the batch is ours any more."""
        with self._traces.publishing(answered) as trace:
            if answered.batch.entries:
                self._leave(answered, trace)

    def _leave(self, answered: Answered, trace: Leaving) -> None:
        """Steps 5 and 6, all or nothing."""
        batch, answer = answered.batch, answered.answer
        now = self._clock.time()
        self._meter.classified(answered.seconds)
        with self._meter.step("encode"), trace.step("encode"):
            destination = self._destination.by(answered.model)
            out = trace.carry(outgoing(batch, answer, destination, datetime.fromtimestamp(now, UTC)))
        tally = self._limits.check(batch, self._clock.monotonic())
        try:
            with self._meter.step("commit"), trace.step("commit"):
                self._publisher.publish(out, batch.positions())
        except AbortedError as error:
            trace.failed(error)
            self._go_back(error)
        else:
            self._waits = backoff()
            self._limits.committed(tally, self._clock.monotonic())
            done = self._clock.time()
            self._meter.committed(batch, answer, answered.model, done)
            if self._watcher is not None:
                pressed = self._builder.pressed(batch, done)
                self._watcher.saw(batch, answer, answered.model, pressed=pressed)

    def _go_back(self, error: AbortedError) -> None:
        """Nothing of a batch was published: forget all that is not committed and read it again."""
        wait_s = next(self._waits)
        log.warning("publication aborted, reading again in %.1f s: %s", wait_s, error)
        self._meter.aborted()
        self._builder.clear()
        self._model.discard()
        self._traces.forgotten()
        self._clock.sleep(wait_s)
        self._source.rewind()

    def _revoked(self, partitions: Collection[TopicPartition]) -> None:
        """Another worker reads these from what is committed; what we hold of them is not ours any more."""
        self._builder.drop(partitions)
        self._model.drop(partitions)

    def _drain(self, deadline: float) -> None:
        """Finish what is held. What is not done by the deadline is not lost: it was never committed."""
        while self._model.busy or len(self._builder):
            left_s = deadline - self._clock.monotonic()
            if left_s <= 0:
                log.warning("drain deadline passed: the records held will be read again by the next worker")
                return
            if len(self._builder) and not self._model.full:
                self._model.submit(self._cut())
            answered = self._model.collect(left_s)
            if answered is not None:
                self._publish(answered)


def _entry_of(decode: Decode) -> Callable[[Record], Entry]:
    """What makes a record an entry. Bound once: an argument more a record would be felt."""

    def entry(record: Record) -> Entry:
        try:
            what = decode(record)
            if isinstance(what, Post):
                return Entry(record, what, written_at(what, record))
        except BadRecordError as error:
            # What it was raised over, and its frames, are some KB until the batch is done.
            error.__context__ = None
            return Entry(record, error.with_traceback(None))
        return Entry(record, what)

    return entry
