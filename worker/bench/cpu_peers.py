"""What people run such a model with on a CPU, each as its documentation says: texts in, answers out.

All get the same artefact's weights and tokenizer. Run as
`python -m worker.bench.cpu_peers NAME MODEL_FOLDER TEXTS_FILE SECONDS`; prints one line of JSON.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from itertools import cycle, islice
from pathlib import Path
from typing import Any, NamedTuple

from worker.bench.texts import read_texts
from worker.model.batch import read_pad_id

Answer = Callable[[Sequence[str]], object]
"""Classify posts; returns when all answers are there."""

_MAX_LENGTH = 128
_SAMPLE = 300
"""Posts that 8-bit ranges are taken from: NNCF's default."""


class Peer(NamedTuple):
    """One way to run it."""

    make: Callable[[Path, Sequence[str]], Answer]
    """From the model's folder and some posts to look at."""
    posts: int
    """Posts handed over at once: what one of them waits for."""


def pipeline(batch_size: int) -> Callable[[Path, Sequence[str]], Answer]:
    """The pipeline of transformers, in single precision."""

    def make(folder: Path, _: Sequence[str]) -> Answer:
        from transformers import pipeline as make_pipeline

        classify: Any = make_pipeline(
            "text-classification", model=network(folder), tokenizer=tokenizer(folder), truncation=True
        )
        return lambda texts: classify(list(texts), batch_size=batch_size)

    return make


def compiled(folder: Path, _: Sequence[str]) -> Answer:
    """torch.compile over the network, padded to the longest of each batch."""
    import torch

    fast: Any = torch.compile(network(folder), dynamic=True)
    tokenise = tokenizer(folder)

    def answer(texts: Sequence[str]) -> object:
        with torch.inference_mode():
            return fast(**tokenise(list(texts), **_padded("pt"))).logits.argmax(-1)

    return answer


def onnx(*, int8: bool) -> Callable[[Path, Sequence[str]], Answer]:
    """ONNX Runtime, with all cores; in 8 bits by its dynamic quantisation, one scale a channel."""

    def make(folder: Path, _: Sequence[str]) -> Answer:
        import onnxruntime
        from onnxruntime.quantization import QuantType, quantize_dynamic

        with tempfile.TemporaryDirectory() as scratch:
            file = _export_onnx(folder, Path(scratch))
            if int8:
                whole, file = file, Path(scratch) / "int8.onnx"
                quantize_dynamic(whole, file, per_channel=True, weight_type=QuantType.QInt8)
            session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
        tokenise = tokenizer(folder)
        return lambda texts: session.run(None, dict(tokenise(list(texts), **_padded("np"))))

    return make


def openvino(*, batch: int, by_length: bool) -> Callable[[Path, Sequence[str]], Answer]:
    """OpenVINO in 8 bits (NNCF), its throughput hint, and padded batches of `batch`."""

    def make(folder: Path, sample: Sequence[str]) -> Answer:
        import openvino as ov

        tokenise = tokenizer(folder)
        graph = _int8_graph(folder, [dict(tokenise([text], **_padded("np"))) for text in sample[:_SAMPLE]])
        model = ov.compile_model(graph, "CPU", {"PERFORMANCE_HINT": "THROUGHPUT"})
        queue = ov.AsyncInferQueue(model)

        def answer(texts: Sequence[str]) -> object:
            rows = tokenise(list(texts), truncation=True, max_length=_MAX_LENGTH)["input_ids"]
            order = (
                sorted(range(len(rows)), key=lambda row: len(rows[row])) if by_length else range(len(rows))
            )
            for start in range(0, len(rows), batch):
                part = {"input_ids": [rows[row] for row in order[start : start + batch]]}
                queue.start_async(dict(tokenise.pad(part, return_tensors="np")))
            queue.wait_all()
            return None

        return answer

    return make


def infinity(folder: Path, _: Sequence[str]) -> Answer:
    """The engine of infinity, in this process: its own batching of what is asked at once."""
    import asyncio

    from infinity_emb import AsyncEmbeddingEngine, EngineArgs

    loop = asyncio.new_event_loop()
    engine = AsyncEmbeddingEngine.from_args(
        EngineArgs(model_name_or_path=str(folder), engine="torch", device="cpu")
    )
    loop.run_until_complete(engine.astart())
    return lambda texts: loop.run_until_complete(engine.classify(sentences=list(texts)))


def moodstream(folder: Path, _: Sequence[str]) -> Answer:
    """This product's classifier, as the worker calls it on a CPU."""
    from worker.errors import ConfigurationError
    from worker.model.artifact import load
    from worker.model.classifier import load as load_classifier

    try:
        classifier = load_classifier(load(folder), "native")
    except ConfigurationError:  # as `auto` does, which would take a GPU
        classifier = load_classifier(load(folder), "openvino")
    return lambda texts: classifier.classify(classifier.prepare(texts))


PEERS: dict[str, Peer] = {
    "transformers pipeline, one by one": Peer(pipeline(1), 1),
    "transformers pipeline, batches of 32": Peer(pipeline(32), 32),
    "torch.compile, batches of 32": Peer(compiled, 32),
    "ONNX Runtime fp32, batches of 32": Peer(onnx(int8=False), 32),
    "ONNX Runtime int8, batches of 32": Peer(onnx(int8=True), 32),
    "infinity": Peer(infinity, 256),
    "OpenVINO int8, batches of 32 as they come": Peer(openvino(batch=32, by_length=False), 512),
    "OpenVINO int8, sorted, batches of 16": Peer(openvino(batch=16, by_length=True), 512),
    **{f"moodstream, {posts} at once": Peer(moodstream, posts) for posts in (1, 16, 64, 256, 1024)},
}


def measure(answer: Answer, texts: Sequence[str], posts: int, seconds: float) -> dict[str, float]:
    """Throughput and the median time of a call, after a fifth of the time to warm up."""
    calls = (list(islice(stream, posts)) for stream in [cycle(texts)] for _ in iter(int, 1))
    warm_at = time.perf_counter() + seconds / 5
    while time.perf_counter() < warm_at:
        answer(next(calls))
    took: list[float] = []
    while sum(took) < seconds:
        call = next(calls)
        start = time.perf_counter()
        answer(call)
        took.append(time.perf_counter() - start)
    return {
        "posts_per_s": posts * len(took) / sum(took),
        "p50_ms": 1000 * sorted(took)[len(took) // 2],
        "posts_at_once": posts,
        "calls": len(took),
    }


def main(name: str, folder: str, file: str, seconds: str) -> None:
    """Measure one peer alone in this process."""
    warnings.simplefilter("ignore")  # exporters and quantisers advise on themselves
    logging.disable(logging.WARNING)
    peer, texts = PEERS[name], read_texts(Path(file))
    with contextlib.redirect_stdout(io.StringIO()):
        found = measure(peer.make(Path(folder), texts), texts, peer.posts, float(seconds))
    sys.stdout.write(json.dumps(found) + "\n")


def network(folder: Path) -> Any:
    """An artefact's network as transformers loads it, in single precision."""
    from transformers import AutoModelForSequenceClassification

    return AutoModelForSequenceClassification.from_pretrained(
        folder, use_safetensors=True, dtype="float32"
    ).eval()


def tokenizer(folder: Path) -> Any:
    """An artefact's tokenizer as transformers loads it."""
    from transformers import PreTrainedTokenizerFast

    loaded: Any = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_file=str(folder / "tokenizer.json"),
        model_max_length=_MAX_LENGTH,
        model_input_names=["input_ids", "attention_mask"],
    )
    loaded.pad_token = loaded.convert_ids_to_tokens(read_pad_id(folder / "config.json"))
    return loaded


def _padded(kind: str) -> dict[str, Any]:
    return {"padding": True, "truncation": True, "max_length": _MAX_LENGTH, "return_tensors": kind}


def _export_onnx(folder: Path, scratch: Path) -> Path:
    import torch

    ids = torch.ones((2, 16), dtype=torch.int64)
    names = ["input_ids", "attention_mask"]
    torch.onnx.export(
        _logits_alone(network(folder)),
        (ids, ids),
        scratch / "model.onnx",
        input_names=names,
        output_names=["logits"],
        dynamic_axes={name: {0: "texts", 1: "tokens"} for name in names},
        dynamo=False,
    )
    return scratch / "model.onnx"


def _int8_graph(folder: Path, sample: Sequence[dict[str, Any]]) -> Any:
    import nncf
    import openvino as ov
    import torch

    example = {name: torch.from_numpy(part) for name, part in sample[0].items()}
    shape = ov.PartialShape([-1, -1])
    graph = ov.convert_model(
        _logits_alone(network(folder)),
        example_input=example,
        input=[(name, shape, ov.Type.i64) for name in example],
    )
    return nncf.quantize(graph, nncf.Dataset(sample), model_type=nncf.ModelType.TRANSFORMER)


def _logits_alone(whole: Any) -> Any:
    """A network that takes ids and mask by position and gives its logits alone."""
    import torch

    class Logits(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.whole = whole

        def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
            logits: torch.Tensor = self.whole(input_ids=input_ids, attention_mask=attention_mask).logits
            return logits

    return Logits().eval()


if __name__ == "__main__":
    main(*sys.argv[1:])
