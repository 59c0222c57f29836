"""The metric catalogue keeps Prometheus's conventions, and what is exposed is what it says."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Histogram, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from worker import metrics as m
from worker.metrics import CATALOGUE, BulkHistogram, Definition, Metrics

BOUNDED_LABELS = {
    "against",
    "backend",
    "measure",
    "side",
    "channel",
    "dependency",
    "emotion",
    "feed",
    "kind",
    "model",
    "model_version",
    "outcome",
    "partition",
    "reason",
    "role",
    "route",
    "slice",
    "status",
    "step",
    "topic",
    "version",
    "window",
}
HISTOGRAMS = [definition for definition in CATALOGUE if definition.kind == "histogram"]


def samples(registry: CollectorRegistry) -> dict[tuple[str, str], float]:
    """(name, le) of every sample but the creation times."""
    text = generate_latest(registry).decode()
    return {
        (sample.name, sample.labels.get("le", "")): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if not sample.name.endswith("_created")
    }


def test_names_are_used_once() -> None:
    names = [definition.exposed for definition in CATALOGUE]

    assert len(set(names)) == len(names) > 20


@pytest.mark.parametrize("definition", CATALOGUE, ids=lambda definition: definition.name)
class TestDefinition:
    def test_name_keeps_the_conventions(self, definition: Definition) -> None:
        assert re.fullmatch(r"[a-z][a-z0-9_]*[a-z0-9]", definition.name)
        assert not definition.name.startswith("moodstream")
        assert not definition.name.endswith("_total")
        assert not re.search(r"_(ms|millis|milliseconds|minutes|kb|mb|percent)$", definition.name)
        assert definition.exposed.endswith("_total") == (definition.kind == "counter")

    def test_meaning_is_a_sentence(self, definition: Definition) -> None:
        assert not definition.help[0].islower()
        assert definition.help.endswith(".")

    def test_labels_are_bounded(self, definition: Definition) -> None:
        """Never an author, a hashtag or an id: each value would be a series for good."""
        assert set(definition.labels) <= BOUNDED_LABELS

    def test_buckets_rise_and_are_for_histograms_only(self, definition: Definition) -> None:
        assert bool(definition.buckets) == (definition.kind == "histogram")
        assert list(definition.buckets) == sorted(set(definition.buckets))

    def test_it_is_exposed_by_its_name_once_it_is_used(self, definition: Definition) -> None:
        metrics = Metrics()
        assert samples(metrics.registry) == {}

        made = getattr(metrics, definition.kind)(definition)
        child = made.labels(*definition.labels) if definition.labels else made
        child.observe(1) if definition.kind == "histogram" else child.inc()

        suffix = "_count" if definition.kind == "histogram" else ""
        assert samples(metrics.registry)[definition.exposed + suffix, ""] == 1


def test_one_definition_is_one_metric() -> None:
    metrics = Metrics()

    assert metrics.counter(m.CONSUMED) is metrics.counter(m.CONSUMED)


def test_two_registries_know_nothing_of_each_other() -> None:
    one, other = Metrics(), Metrics()

    one.gauge(m.ASSIGNED).set(3)

    assert samples(other.registry) == {}


@pytest.mark.parametrize("wrong", [Metrics.gauge, Metrics.histogram])
def test_a_counter_is_nothing_else(wrong: object) -> None:
    assert callable(wrong)
    with pytest.raises(AssertionError, match="records_consumed"):
        wrong(Metrics(), m.CONSUMED)


class TestBulkHistogram:
    """It must be the client library's own, only faster."""

    @pytest.mark.parametrize(
        "definition",
        [definition for definition in HISTOGRAMS if not definition.labels],
        ids=lambda definition: definition.name,
    )
    @given(data=st.data())
    def test_it_counts_like_the_libraries_own(self, definition: Definition, data: st.DataObject) -> None:
        value = st.sampled_from(definition.buckets) | st.floats(0, 2 * definition.buckets[-1])
        batches = data.draw(st.lists(st.lists(value, max_size=5), max_size=4))
        fast, own = CollectorRegistry(), CollectorRegistry()
        bulk = BulkHistogram(definition, fast)
        plain = Histogram(definition.exposed, definition.help, buckets=definition.buckets, registry=own)

        for batch in batches:
            bulk.observe_all(np.array(batch, dtype=np.float64))
            for one in batch:
                plain.observe(one)

        assert samples(fast) == pytest.approx(samples(own))

    def test_it_has_no_labels(self) -> None:
        with pytest.raises(AssertionError, match="step_seconds"):
            Metrics().bulk_histogram(m.STEP_SECONDS)
