"""The columns of predictions.parquet, and of each part before it: one row a record.

partition, offset  where the record lies
kafka_time         Kafka's, null where there is none
outcome            label, deletion, or the kind of a record that cannot be labelled
reason             why it cannot be labelled
id, lang, source   the post's own; source is the topic where the post names none
created_at         when the post was written
text               its first 2,000 characters; null where worker.label_text is off
A_label            what model A answers, neutral included
A_score            the probability of that answer, as labels carry it
A_sadness, ...     six calibrated probabilities that add up to 1
A_neutral          probability that none of the six is expressed
B_label, ...       the same of every further model
earlier_label, ... the same of the label that the stream gave (--against)
truth              the gold label (--gold); null where there is none, and for further posts of an id
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

import numpy as np
import pyarrow as pa

from worker.replay.history.contest import Answers, Facts
from worker.types import EMOTIONS

EARLIER = "earlier"
TRUTH = "truth"

_UTC = "UTC"
_FACTS: tuple[tuple[str, pa.DataType], ...] = (
    ("partition", pa.int32()),
    ("offset", pa.int64()),
    ("kafka_time", pa.timestamp("ms", tz=_UTC)),
    ("outcome", pa.string()),
    ("reason", pa.string()),
    ("id", pa.string()),
    ("lang", pa.string()),
    ("source", pa.string()),
    ("created_at", pa.timestamp("us", tz=_UTC)),
    ("text", pa.string()),
)


def answer_names(who: str) -> list[str]:
    """The columns of a contestant, `A`, `B`, ... or `EARLIER`."""
    return [f"{who}_{part}" for part in ("label", "score", *EMOTIONS, "neutral")]


def schema(contestants: Sequence[str], *, truth: bool = False) -> pa.Schema:
    """The columns for these contestants."""
    fields = [pa.field(name, kind) for name, kind in _FACTS]
    for who in contestants:
        label, *numbers = answer_names(who)
        fields.append(pa.field(label, pa.string()))
        fields += [pa.field(name, pa.float64()) for name in numbers]
    return pa.schema([*fields, pa.field(TRUTH, pa.string())] if truth else fields)


def table(facts: Sequence[Facts], answers: Mapping[str, Answers]) -> pa.Table:
    """Rows of a part."""
    columns: list[pa.Array] = [
        pa.array([one.partition for one in facts], pa.int32()),
        pa.array([one.offset for one in facts], pa.int64()),
        pa.array(
            [one.timestamp_ms if one.timestamp_ms >= 0 else None for one in facts],
            pa.timestamp("ms", tz=_UTC),
        ),
        *(
            pa.array([_plain(getattr(one, name)) for one in facts], pa.string())
            for name in ("outcome", "reason", "id", "lang", "source")
        ),
        pa.array([_micros(one.created_at) for one in facts], pa.timestamp("us", tz=_UTC)),
        pa.array([_plain(one.text) for one in facts], pa.string()),
    ]
    for given in answers.values():
        columns += answer_arrays(given)
    return pa.Table.from_arrays(columns, schema=schema(list(answers)))


def answer_arrays(given: Answers) -> list[pa.Array]:
    """The columns of one contestant, in the order of `answer_names`."""
    none = np.isnan(given.neutral)
    return [
        pa.array(given.label, pa.string()),
        *(pa.array(part, mask=none) for part in (given.score, *given.scores.T, given.neutral)),
    ]


def _micros(moment: datetime | None) -> int | None:
    """Exact, where a float of seconds would not be."""
    if moment is None:
        return None
    since = moment - _EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


_EPOCH = datetime.fromisoformat("1970-01-01T00:00:00+00:00")


def _plain(text: str | None) -> str | None:
    """JSON can hold lone surrogates, which are no UTF-8."""
    return None if text is None else text.encode("utf-8", "replace").decode()
