"""What is on this machine: the model, the GPU, and the addresses that the roles want."""

from __future__ import annotations

import http.client
import importlib.util
import resource
import shutil
import socket
from collections.abc import Iterator, Sequence

import numpy as np

from worker.doctor.findings import Finding
from worker.errors import MoodstreamError
from worker.model import artifact as artifacts
from worker.model.bundled import bundled_model
from worker.model.classifier import load
from worker.settings import HttpSettings, Settings
from worker.types import Classified

_WORDS = ("so", "happy", "today", "and", "afraid", "of", "what", "comes", "but", "she", "was", "angry")
_POSTS = tuple(" ".join((_WORDS * 8)[start : start + 1 + 7 * start % 40]) for start in range(48))
"""Of one to forty words, for several micro-batches."""
_CLOSE = 0.02
"""Of probabilities: an 8-bit model's may differ by less with what else is asked (bench/RESULTS.md)."""
_ANSWER_S = 2.0
_LEAST_FILES = 1024
"""Open files. Kafka's client holds a connection for each broker, the server one for each who watches."""


def model(settings: Settings) -> Iterator[Finding]:
    """Whether the artefact is whole, and answers on the backend that the settings ask for."""
    path = settings.model.path or bundled_model()
    try:
        artifact = artifacts.load(path)
    except MoodstreamError as error:
        yield Finding(
            "model.files",
            "fault",
            str(error),
            "set model.path to a folder that `moodstream model verify` takes",
        )
        return
    yield Finding("model.files", "ok", f"{artifact.full_name}: every file is as it was made")
    try:
        classifier = load(artifact, settings.model.backend, streams=settings.model.streams)
        try:
            rows = classifier.prepare(_POSTS)
            together = classifier.classify(rows)
            alone = [classifier.classify([row]) for row in rows]
            runtime = classifier.runtime
        finally:
            classifier.close()
    except Exception as error:  # whatever a runtime raises: the role would end with it
        yield Finding(
            "model.answer",
            "fault",
            f"it does not answer on {settings.model.backend} ({type(error).__name__}: {error})",
            "set model.backend to auto, or to openvino (CPU); torch needs the extra `gpu`",
        )
        return
    yield Finding("model.answer", "ok", f"answers on {runtime}")
    yield _steady(together, alone)
    yield from _gpu(runtime)


def _steady(together: Classified, alone: Sequence[Classified]) -> Finding:
    """Whether an answer depends on what else is asked, as where a runtime computes wrongly on a processor.

    Args:
        together: The answer to n posts in one call.
        alone: The answers to each of them.
    """
    each = np.concatenate([one.scores for one in alone])
    apart = np.abs(together.scores - each).max(axis=1)
    if not (apart > _CLOSE).any():
        return Finding("model.steady", "ok", "a post gets the same answer alone and beside others")
    return Finding(
        "model.steady",
        "fault",
        f"of {len(apart)} posts {np.count_nonzero(apart > _CLOSE)} get another answer beside others than"
        f" alone (probabilities up to {apart.max():.2f} apart): the runtime computes wrongly here",
        "serve on another kind of processor, or by model.backend=torch (moodstream[gpu]); and please report"
        " it, with the processor's name",
    )


def _gpu(runtime: str) -> Iterator[Finding]:
    """Says where a GPU lies idle."""
    if runtime in ("native", "openvino") and shutil.which("nvidia-smi") is not None:
        lacking = "" if importlib.util.find_spec("torch") else ": torch is not installed"
        yield Finding(
            "gpu",
            "note",
            f"there is an NVIDIA driver, and the model runs on the CPU{lacking}",
            "install moodstream[gpu] and leave model.backend=auto",
        )


def addresses(settings: Settings, roles: Sequence[str]) -> Iterator[Finding]:
    """Whether each role can have the address on which it answers over HTTP."""
    sections: dict[str, HttpSettings] = {
        "worker": settings.worker.http,
        "trends": settings.trends.http,
        "quality": settings.quality.http,
    }
    for role in roles:
        if role in sections:
            yield _address(role, sections[role])


def _address(role: str, http: HttpSettings) -> Finding:
    check, where = f"http.{role}", f"{http.host} port {http.port}"
    family = socket.AF_INET6 if ":" in http.host else socket.AF_INET
    with socket.socket(family) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((http.host, http.port))
        except OSError as error:
            if _is_ours(http):
                return Finding(check, "ok", f"{where}: the role answers there already")
            return Finding(
                check,
                "fault",
                f"{where}: {error.strerror}",
                f"end what has it, or set {role}.http.port (0: any free one) and {role}.http.host",
            )
    return Finding(check, "ok", f"{where} is free")


def _is_ours(http_settings: HttpSettings) -> bool:
    """Whether what listens there is a role of ours."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(http_settings.host, http_settings.host)  # noqa: S104
    connection = http.client.HTTPConnection(host, http_settings.port, timeout=_ANSWER_S)
    try:
        connection.request("GET", "/metrics")
        answer = connection.getresponse()
        return answer.status == 200 and b"moodstream_" in answer.read()
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def limits() -> Iterator[Finding]:
    """What the system allows this user."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < _LEAST_FILES:
        yield Finding(
            "machine.files", "note", f"only {soft} files may be open at once", f"ulimit -n {_LEAST_FILES}"
        )
