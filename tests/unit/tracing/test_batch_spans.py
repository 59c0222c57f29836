"""Batches as spans, and the traces of records through them, from the real loop to a real collector."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.support.collector import Collector, as_parent, attributes_of, traceparent
from tests.support.models import WordModel
from tests.support.tracing import ERROR, SECRET, Rig, children, exporting_to
from worker.clock import ManualClock
from worker.errors import DependencyError
from worker.stream.batch import Batch, Entry
from worker.stream.batch_spans import BatchSpans
from worker.stream.model_stage import Answered
from worker.tracing.carrier import LINKS, context_of, is_sampled
from worker.tracing.w3c import span_context_from
from worker.types import Classified, Headers, Post, Record, TopicPartition


class TestBatch:
    def test_every_batch_is_a_tree_of_its_steps(self, collector: Collector) -> None:
        with exporting_to(collector) as tracer:
            rig = Rig(tracer)
            for number in range(20):
                rig.post(f"joy {number}")
            rig.log.append("tweets", b"{", key=b"bad")
            rig.log.append("tweets", None, key=b"gone")
            rig.run()

        batches = sorted(collector.spans("batch"), key=lambda span: span.end_time_unix_nano)
        facts = [attributes_of(span) for span in batches]
        assert [one["messaging.batch.message_count"] for one in facts] == [8, 8, 6]
        assert sum(one["moodstream.labels"] for one in facts) == 20
        assert [one["moodstream.dead_letters"] for one in facts] == [0, 0, 1]
        assert [one["moodstream.deletions"] for one in facts] == [0, 0, 1]
        assert facts[0] | {"moodstream.tokens": 0} == {
            "messaging.system": "kafka",
            "messaging.operation.type": "process",
            "messaging.operation.name": "label",
            "messaging.batch.message_count": 8,
            "messaging.consumer.group.name": "the-group",
            "messaging.destination.name": "tweets",
            "moodstream.model": "words@1",
            "moodstream.tokens": 0,
            "moodstream.labels": 8,
            "moodstream.dead_letters": 0,
            "moodstream.deletions": 0,
        }
        assert facts[0]["moodstream.tokens"] == 8 * len("joy 0")
        assert len({span.trace_id for span in batches}) == 3
        for batch in batches:
            own = [span for span in collector.spans() if span.trace_id == batch.trace_id]
            assert batch.parent_span_id == b""
            assert batch.kind == Span.SPAN_KIND_CONSUMER
            assert batch.status.code != ERROR
            assert children(own, batch) == ["decode", "classify", "encode", "commit"]
            assert len(own) == 5
            for child in own:
                assert batch.start_time_unix_nano <= child.start_time_unix_nano
                assert child.start_time_unix_nano <= child.end_time_unix_nano <= batch.end_time_unix_nano

    def test_decoding_is_told_of_the_batch_that_it_was_for(self, collector: Collector) -> None:
        """Each call is one second long; the batch cut first has the first three records of four and two."""
        clock = ManualClock()
        with exporting_to(collector) as tracer:
            spans = BatchSpans(tracer, "g", clock)
            for records in (1, 3, 2):
                with spans.decoding(records):
                    clock.now += 1
                clock.now += 10
            spans.cut(left=3)
            spans.cut(left=2)
            spans.cut(left=0)
            batch = Batch([_entry()])
            for _ in range(3):
                with spans.publishing(Answered(batch, WordModel().classify([[1]]))):
                    pass

        decoded = collector.spans("decode")
        seconds = [
            (one.end_time_unix_nano - one.start_time_unix_nano, attributes_of(one)["moodstream.busy_s"])
            for one in decoded
        ]
        assert seconds == [(12_000_000_000, 2.0), (1_000_000_000, 1.0), (1_000_000_000, 1.0)]

    def test_an_aborted_publication_is_an_error_and_what_comes_after_it_is_none(
        self, collector: Collector
    ) -> None:
        with exporting_to(collector) as tracer:
            rig = Rig(tracer)
            for number in range(20):
                rig.post(f"joy {number}", [("traceparent", traceparent(number))])
            rig.publisher.fail_next = True
            out = rig.run()

        assert len(out) == 20
        failed, *rest = collector.spans("batch")
        assert (failed.status.code, attributes_of(failed)["error.type"]) == (ERROR, "AbortedError")
        assert [span.status.code for span in rest] == [0, 0, 0]
        again = [span for span in collector.spans("label") if span.trace_id == b"\0" * 15 + b"\1"]
        assert [span.status.code for span in again] == [ERROR, 0]
        assert dict(out[0].headers)["traceparent"] == as_parent(again[1]) + b"01"

    def test_what_stops_the_worker_is_an_error_and_sent(
        self, collector: Collector, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(*_: object) -> None:
            raise DependencyError("kafka", "planted")

        with exporting_to(collector) as tracer:
            rig = Rig(tracer)
            rig.post("joy", [("traceparent", traceparent(1))])
            monkeypatch.setattr(rig.publisher, "publish", refuse)
            with pytest.raises(DependencyError):
                rig.run()

        wrong = {span.name: attributes_of(span).get("error.type") for span in collector.spans()}
        assert wrong == {
            **dict.fromkeys(["decode", "classify", "encode"]),
            **dict.fromkeys(["batch", "commit", "label"], "DependencyError"),
        }
        assert not any(b"planted" in body for _, _, body in collector.requests)

    def test_a_batch_that_another_worker_has_now_has_no_span(self, collector: Collector) -> None:
        with exporting_to(collector) as tracer:
            rig = Rig(tracer, max_records=2)
            rig.post("joy")
            rig.post("joy")
            rig.source.open(rig.loop._revoked)
            while not rig.loop._model.busy:
                rig.loop.run_once()
            rig.source.revoke([TopicPartition("tweets", 0)])
            rig.log.append("tweets", b'{"id":1,"text":"fear"}', partition=1)
            assert len(rig.run()) == 1

        assert [attributes_of(one)["messaging.batch.message_count"] for one in collector.spans("batch")] == [
            1
        ]

    def test_no_more_than_the_share_is_traced(self, collector: Collector) -> None:
        with exporting_to(collector, sample="0.5") as tracer:
            rig = Rig(tracer, max_records=1)
            for _ in range(200):
                rig.post("joy")
            rig.run()

        batches = collector.spans("batch")
        assert 0 < len(batches) < 200  # that it is none or all of 200 has a chance of 1 in 10^60
        assert len(collector.spans()) == 5 * len(batches)


def _entry() -> Entry:
    return Entry(Record("tweets", 0, 0, None, b"", 0), Post(id=1, text="joy"))


class TestRecords:
    def test_a_trace_goes_on_through_the_batch_into_the_label(self, collector: Collector) -> None:
        with exporting_to(collector) as tracer:
            rig = Rig(tracer)
            rig.post("joy", [("traceparent", traceparent(1)), ("tracestate", b"vendor=x")])
            rig.post("fear")
            rig.log.append("tweets", None, key=b"gone", headers=[("traceparent", traceparent(2))])
            label, plain, tombstone = rig.run()

        [batch] = collector.spans("batch")
        [traced] = collector.spans("label")
        assert [link.span_id.hex() for link in batch.links] == [f"{2:016x}", f"{3:016x}"]
        assert attributes_of(batch)["moodstream.traced_records"] == 2
        assert traced.trace_id.hex() == f"{2:032x}"
        assert traced.parent_span_id.hex() == f"{2:016x}"
        assert traced.kind == Span.SPAN_KIND_PRODUCER
        assert [link.span_id for link in traced.links] == [batch.span_id]
        assert attributes_of(traced) == {
            "messaging.system": "kafka",
            "messaging.operation.type": "create",
            "messaging.operation.name": "label",
            "messaging.destination.name": "labels",
            "moodstream.input": "tweets/0/0",
            "moodstream.model": "words@1",
        }
        assert dict(label.headers) == {"traceparent": as_parent(traced) + b"01", "tracestate": b"vendor=x"}
        assert plain.headers == []
        [deleted] = collector.spans("deletion")
        assert dict(tombstone.headers) == {
            "moodstream.input": b"tweets/0/2",
            "traceparent": as_parent(deleted) + b"01",
        }

    def test_a_dead_letter_keeps_the_headers_of_its_record(self, collector: Collector) -> None:
        with exporting_to(collector) as tracer:
            rig = Rig(tracer)
            rig.log.append("tweets", b"{", headers=[("traceparent", traceparent(1)), ("x", b"y")])
            [letter] = rig.run()

        assert letter.headers[:2] == [("traceparent", traceparent(1)), ("x", b"y")]
        assert [name for name, _ in letter.headers].count("traceparent") == 1
        [span] = collector.spans("dead_letter")
        assert span.trace_id.hex() == f"{2:032x}"
        assert (span.status.code, attributes_of(span)["error.type"]) == (ERROR, "invalid_json")

    def test_so_many_and_no_more_have_a_span_and_the_others_go_on_as_they_came(
        self, collector: Collector
    ) -> None:
        with exporting_to(collector) as tracer:
            rig = Rig(tracer, max_records=LINKS + 10)
            for number in range(LINKS + 10):
                rig.post("joy", [("traceparent", traceparent(number))])
            out = rig.run()

        [batch] = collector.spans("batch")
        assert len(batch.links) == len(collector.spans("label")) == LINKS
        assert attributes_of(batch)["moodstream.traced_records"] == LINKS + 10
        for number in range(LINKS, LINKS + 10):
            assert out[number].headers == [("traceparent", traceparent(number))]

    @pytest.mark.parametrize("sample", ["0", "1"])
    def test_who_is_not_traced_passes_on_what_comes(self, collector: Collector, sample: str) -> None:
        """Whose producer records nothing; or where the batch is not of the share."""
        brought: Headers = [("traceparent", traceparent(1, sampled=sample == "0")), ("tracestate", b"a=b")]
        with exporting_to(collector, sample=sample) as tracer:
            rig = Rig(tracer)
            rig.post("joy", [*brought, ("other", b"x")])
            rig.post("joy", [("traceparent", b"00-" + b"x" * 100_000), ("tracestate", b"a=b")])
            rig.post("joy", [("traceparent", traceparent(3, sampled=False)), ("tracestate", b"a" * 513)])
            [first, malformed, long] = rig.run()

        assert first.headers == brought
        assert malformed.headers == []
        assert long.headers == [("traceparent", traceparent(3, sampled=False))]
        assert [span.name for span in collector.spans("batch", "label")] == ["batch"] * int(sample)

    def test_where_the_sdk_is_disabled_contexts_are_passed_on(
        self, collector: Collector, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
        with exporting_to(collector) as tracer:
            rig = Rig(tracer)
            rig.post("joy", [("traceparent", traceparent(1))])
            assert rig.run()[0].headers == [("traceparent", traceparent(1))]
        assert collector.requests == []

    def test_without_a_tracer_labels_have_no_headers(self) -> None:
        rig = Rig(None)
        rig.post("joy", [("traceparent", traceparent(1))])
        assert rig.run()[0].headers == []


@given(
    st.one_of(
        st.from_regex(rb"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}", fullmatch=True),
        st.sampled_from([b"00", b"01", b"ff", b"0", b"FF"]).flatmap(
            lambda version: st.sampled_from(
                [
                    b"-" + trace_id + b"-" + span_id + b"-" + flags
                    for trace_id in (b"0" * 32, b"a" * 32, b"A" * 32, b"a" * 31)
                    for span_id in (b"0" * 16, b"1" * 16)
                    for flags in (b"00", b"01", b"ff", b"0g", b"")
                ]
            ).map(lambda rest: version + rest)
        ),
        st.binary(max_size=60),
    )
)
def test_a_context_is_one_for_opentelemetry_too(header: bytes) -> None:
    """What passes by our form it reads; and it reads no more of these."""
    found = context_of([("traceparent", b"before"), ("traceparent", header)])
    theirs = span_context_from([("traceparent", header)])
    assert bool(found) == theirs.is_valid
    if found:
        assert is_sampled(found) == theirs.trace_flags.sampled


class Telltale(WordModel):
    """Fails with the text of the post in its error."""

    def classify(self, rows: Sequence[Sequence[int]]) -> Classified:
        for row in rows:
            text = "".join(map(chr, row))
            if "broken" in text:
                raise RuntimeError(text)
        return super().classify(rows)


def test_nothing_of_a_post_is_in_a_span(collector: Collector, caplog: pytest.LogCaptureFixture) -> None:
    with exporting_to(collector, headers=f"authorization={SECRET.replace(' ', '%20')}") as tracer:
        rig = Rig(tracer, model=Telltale())
        for number, text in enumerate(["joy planted", "broken planted", "fear planted"]):
            headers: Headers = [("traceparent", traceparent(number)), ("planted", b"planted")]
            rig.post(text, headers, author_id="planted", lang="planted", source="planted", id="planted")
        rig.log.append("tweets", b'{"planted', key=b"planted", headers=[("traceparent", traceparent(9))])
        out = rig.run()
        assert len(out) == 4
        assert all(b"planted" in (record.value or b"") for record in out)

    assert len(collector.spans("label")) == len(collector.spans("dead_letter")) == 2
    for _, sent, body in collector.requests:
        assert b"planted" not in body
        assert sent["authorization"] == SECRET
    assert "planted" not in caplog.text
