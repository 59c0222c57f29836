"""Which runtime serves the 8-bit model faster on a CPU, and at what accuracy?

    python bench/cpu_runtimes.py --model models/default --texts TEXTS.txt --data EMOTION_FOLDER

Peers: the artefact's own OpenVINO graph (8-bit weights and activations, static ranges), and the same
network through ONNX Runtime (8-bit, dynamic ranges, one scale per channel), from the artefact's
half-precision weights, both as transformers computes it and with the lean last layer of
`training.graph`. Every peer gets the same batches, sorted by length, and as many single-threaded
streams as asked for; tokenising is done beforehand. The figure is the best of the rounds, which
alternate between the peers, so that a busy moment of the machine does not hit one alone.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import openvino as ov
import torch
from numpy.typing import NDArray
from transformers import AutoModelForSequenceClassification, PreTrainedModel

from training.data import SIX, build_corpus, load_sources
from training.graph import WholeGraph, serving_graph
from training.model import by_length, pad
from training.scores import accuracy
from worker.model import artifact
from worker.model.text import normalise
from worker.model.tokenise import open_tokeniser

Batch = dict[str, NDArray[np.int64]]
Peer = Callable[[Sequence[Batch]], list[NDArray[np.float32]]]
"""Answers batches, all streams busy, in their order."""


def openvino_peer(graph: Path, streams: int) -> Peer:
    """The artefact's graph, as the worker runs it."""
    compiled = ov.compile_model(
        graph,
        "CPU",
        {"PERFORMANCE_HINT": "THROUGHPUT", "NUM_STREAMS": streams, "INFERENCE_NUM_THREADS": streams},
    )

    def answer(batches: Sequence[Batch]) -> list[NDArray[np.float32]]:
        answers: list[NDArray[np.float32]] = [np.empty(0, np.float32)] * len(batches)
        queue = ov.AsyncInferQueue(compiled, streams)

        def keep(request: ov.InferRequest, place: int) -> None:
            answers[place] = request.get_output_tensor(0).data.copy()

        queue.set_callback(keep)
        for place, batch in enumerate(batches):
            queue.start_async(batch, place)
        queue.wait_all()
        return answers

    return answer


def onnx_peer(network: torch.nn.Module, folder: Path, streams: int) -> Peer:
    """A network in ONNX Runtime, weights quantised per channel, one session a stream."""
    import onnxruntime
    from onnxruntime.quantization import QuantType, quantize_dynamic

    folder.mkdir()
    ids = torch.ones((2, 16), dtype=torch.int64)
    torch.onnx.export(
        network,
        (ids, ids),
        folder / "model.onnx",
        input_names=["input_ids", "attention_mask"],
        output_names=["logits"],
        dynamic_axes={name: {0: "texts", 1: "tokens"} for name in ("input_ids", "attention_mask")},
        dynamo=False,
    )
    quantize_dynamic(
        folder / "model.onnx", folder / "int8.onnx", per_channel=True, weight_type=QuantType.QInt8
    )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    sessions = [
        onnxruntime.InferenceSession(folder / "int8.onnx", options, ["CPUExecutionProvider"])
        for _ in range(streams)
    ]

    def answer(batches: Sequence[Batch]) -> list[NDArray[np.float32]]:
        answers: list[NDArray[np.float32]] = [np.empty(0, np.float32)] * len(batches)

        def work(stream: int) -> None:
            for place in range(stream, len(batches), streams):
                [answers[place]] = sessions[stream].run(["logits"], batches[place])

        with ThreadPoolExecutor(streams) as pool:
            list(pool.map(work, range(streams)))
        return answers

    return answer


def batches_of(rows: Sequence[Sequence[int]], size: int) -> tuple[list[Batch], list[int]]:
    """Padded batches of similar length, and which row stands where in them."""
    order = by_length(rows, size)
    batches = []
    for batch in order:
        ids, mask = pad([rows[row] for row in batch])
        batches.append({"input_ids": ids, "attention_mask": mask})
    return batches, [row for batch in order for row in batch]


def main() -> None:
    """Measure every peer and print a line of JSON for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="folder of a model artefact")
    parser.add_argument("--texts", type=Path, required=True, help="file with a text on each line")
    parser.add_argument("--data", type=Path, required=True, help="data set for the accuracy")
    parser.add_argument("--limit", type=int, default=2048, help="texts timed (default: 2048)")
    parser.add_argument("--batch", type=int, default=16, help="texts in a batch (default: 16)")
    parser.add_argument("--streams", type=int, default=2, help="single-threaded streams (default: 2)")
    parser.add_argument("--rounds", type=int, default=5, help="rounds, the best counts (default: 5)")
    options = parser.parse_args()
    warnings.simplefilter("ignore")  # torch's exporter and ORT's quantiser advise on themselves.
    logging.disable(logging.WARNING)

    model = artifact.load(options.model)
    tokeniser = open_tokeniser(model.tokenizer_path, model.manifest.max_length)
    lines = options.texts.read_text(encoding="utf-8").splitlines()[: options.limit]
    rows = tokeniser.encode([normalise(line, model.manifest.text_version) for line in lines])
    timed, _ = batches_of(rows, options.batch)
    corpus = build_corpus(load_sources([options.data]), model.manifest.text_version)
    validation = corpus.sources[0].splits["validation"]
    checked, order = batches_of(tokeniser.encode(list(validation.texts)), options.batch)

    network: PreTrainedModel = AutoModelForSequenceClassification.from_pretrained(
        model.path, use_safetensors=True, dtype="float32", attn_implementation="eager"
    )
    with tempfile.TemporaryDirectory() as scratch, torch.inference_mode():
        peers = {
            "OpenVINO int8": openvino_peer(model.openvino_path, options.streams),
            "ONNX Runtime int8": onnx_peer(
                WholeGraph(network).eval(), Path(scratch) / "whole", options.streams
            ),
            "ONNX Runtime int8, lean last layer": onnx_peer(
                serving_graph(network), Path(scratch) / "lean", options.streams
            ),
        }
        best = dict.fromkeys(peers, float("inf"))
        for _ in range(options.rounds):
            for name, peer in peers.items():
                started = time.perf_counter()
                peer(timed)
                best[name] = min(best[name], time.perf_counter() - started)
        for name, peer in peers.items():
            right = np.concatenate(peer(checked))[:, :SIX].argmax(axis=1)
            figures = {
                "peer": name,
                "tweets_per_s": round(len(rows) / best[name], 1),
                "validation_accuracy": round(accuracy(validation.emotion[order], right), 4),
                "texts": len(rows),
                "tokens_per_text": round(float(np.mean([len(row) for row in rows])), 1),
            }
            sys.stdout.write(json.dumps(figures) + "\n")


if __name__ == "__main__":
    main()
