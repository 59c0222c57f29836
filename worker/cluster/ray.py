"""Ray Data: a data set of posts becomes one of labels.

from worker.cluster.ray import labelled

labels = labelled(ray.data.read_parquet("posts"), actors=8, keep=["created_at"])
labels.write_parquet("labels")

Each actor has one core and opens the model once. Only a path and an identity travel to it.
"""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from typing import TYPE_CHECKING

from worker.cluster.job import BATCH_ROWS, Job, flags_of, job_of, opened, require, wanted_by
from worker.configuration import load

if TYPE_CHECKING:
    import pyarrow as pa
    from ray.data import Dataset


class Labels:
    """The stage: an actor of Ray with a model of its own."""

    def __init__(self, job: Job) -> None:
        """Open the model.

        Raises:
            ArtifactError, ConfigurationError: as `worker.cluster.job.opened`.
        """
        self._job = job
        opened(job.wanted)

    def __call__(self, table: pa.Table) -> pa.Table:
        """The kept columns of a table and the added ones."""
        import pyarrow as pa

        from worker.cluster.table import SCHEMA, label_batches

        kept = [table.schema.field(name) for name in self._job.kept]
        labels = label_batches(self._job, table.to_batches(max_chunksize=BATCH_ROWS))
        return pa.Table.from_batches(labels, schema=pa.schema([*kept, *SCHEMA]))


def labelled(
    posts: Dataset,
    *,
    actors: int,
    text_column: str = "text",
    id_column: str | None = "id",
    keep: Sequence[str] = (),
    model: str | PathLike[str] | None = None,
    **settings: str,
) -> Dataset:
    """The ids, what is kept, and `label`, `score`, `scores`, `neutral`, `model` and `error` of each row.

    Nothing runs before Ray is asked for the result.

    Args:
        posts: With a column of texts.
        actors: How many; each takes a core and has a model of its own.
        text_column: The column to label: text, or bytes in UTF-8.
        id_column: A column that goes along; None: there is none.
        keep: Others that go along.
        model: The folder of an artefact, at the same path on every machine. None: as the settings say,
            else the bundled one.
        settings: As for `worker.labeller.Labeller`.

    Raises:
        ConfigurationError: a package, a column or a setting is wrong.
        ArtifactError: the model cannot be loaded.
    """
    require("ray", "pyarrow", "ray")
    from ray.data import ActorPoolStrategy

    read = load(flags_of(model, settings))
    others = (*(() if id_column is None else (id_column,)), *keep)
    job = job_of(wanted_by(read), posts.columns() or (), text=text_column, others=others)
    return posts.select_columns(list(job.read)).map_batches(
        Labels,
        fn_constructor_args=(job,),
        batch_format="pyarrow",
        batch_size=BATCH_ROWS,
        compute=ActorPoolStrategy(size=actors),
        num_cpus=1,
    )
