"""The worker as most would write it: a plain Faust agent, one event at a time.

Without a model it decodes and sends; with one, a `transformers` text-classification pipeline answers each.
Run as `python -m worker.bench.faust_peer BOOTSTRAP TOPIC OUT GROUP [MODEL_FOLDER]`.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import faust

from worker.bench.cpu_peers import network, tokenizer

_NULL = {"label": "sadness", "score": 1 / 6}


def main(bootstrap: str, topic: str, out: str, group: str, model: str | None = None) -> None:
    """Label `topic` into `out` for ever."""
    app = faust.App(
        group,
        broker=f"kafka://{bootstrap}",
        value_serializer="raw",
        topic_allow_declare=False,
        topic_disable_leader=True,
        web_enabled=False,
        consumer_auto_offset_reset="earliest",
        datadir=tempfile.mkdtemp(prefix="moodstream-faust-"),
    )
    source, target = app.topic(topic), app.topic(out)
    answer = _pipeline(model) if model else lambda _: _NULL

    @app.agent(source)
    async def label(stream: Any) -> None:
        async for event in stream.events():
            post = json.loads(event.value)
            await target.send(key=event.key, value=json.dumps({"id": post["id"], **answer(post["text"])}))

    sys.argv = [group, "worker", "--without-web", "-l", "error"]
    app.main()


def _pipeline(folder: str) -> Callable[[str], dict[str, Any]]:
    from transformers import pipeline

    classify: Any = pipeline(
        "text-classification",
        model=network(Path(folder)),
        tokenizer=tokenizer(Path(folder)),
        truncation=True,
    )
    return lambda text: classify(text)[0]


if __name__ == "__main__":
    main(*sys.argv[1:])
