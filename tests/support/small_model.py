"""A model that costs next to nothing on any processor: a real artefact, whose graph is one table look-up.

For tests of the stream: what they wait for is then the stream, and not instructions for 8 bits.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import openvino as ov
from msgspec.structs import replace
from openvino import opset13 as op

from worker.model.artifact import Artifact, load, write_manifest
from worker.model.bundled import bundled_model

_FILES = ("tokenizer.json", "config.json")
_VOCABULARY = 30_522


def write_small_model(folder: Path, version: str = "1", *, temperature: float = 1.0) -> Artifact:
    """An artefact with the bundled one's tokenizer and gate, whose logits are sums of random numbers.

    All seven labels come out; with the same text always the same, whatever stands beside it in the batch.
    Another version has the same logits; its answers are `temperature` times as mild.
    """
    bundled = load(bundled_model())
    folder.mkdir(parents=True)
    for name in _FILES:
        shutil.copy(bundled_model() / name, folder / name)
    ids = op.parameter([-1, -1], np.int64, name="input_ids")
    mask = op.parameter([-1, -1], np.int64, name="attention_mask")
    table = np.random.default_rng(1).normal(0, 1.5, (_VOCABULARY, bundled.logits)).astype(np.float32)
    rows = op.gather(op.constant(table), ids, op.constant(0))
    shown = op.multiply(rows, op.unsqueeze(op.convert(mask, np.float32), op.constant(2)))
    logits = op.reduce_sum(shown, op.constant(1), keep_dims=False)
    ids.output(0).tensor.set_names({"input_ids"})
    mask.output(0).tensor.set_names({"attention_mask"})
    ov.save_model(ov.Model([logits], [ids, mask], "small"), folder / "openvino.xml")
    manifest = replace(bundled.manifest, name="small", version=version, scores={})
    return write_manifest(folder, replace(manifest, temperature=manifest.temperature * temperature))
