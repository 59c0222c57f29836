"""The process beside the stream: answers, failures, and that it ends with its parent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.waiting import eventually
from worker.clock import SystemClock
from worker.model import classifier
from worker.model.artifact import load
from worker.model.bundled import bundled_model
from worker.model.model_process import ModelProcess, ModelProcessError, Order

TEXTS = ["i feel so happy today", "this makes me furious", "the train leaves at nine", "i am so scared"]


class Hands:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(scope="module")
def process() -> Iterator[ModelProcess]:
    made = ModelProcess("default@test", Order(str(bundled_model()), streams=1), SystemClock().monotonic)
    yield made
    made.close()


def child(process: ModelProcess) -> subprocess.Popen[bytes]:
    found = process._child
    assert found is not None
    return found


def test_it_answers_as_the_model_does_in_this_process(process: ModelProcess) -> None:
    here = classifier.load(load(bundled_model()), streams=1)
    expected = here.classify(here.prepare(TEXTS)).label.tolist()
    here.close()
    assert process.labels(TEXTS).tolist() == expected
    assert process.labels([]).tolist() == []


def test_every_thread_of_it_stands_back(process: ModelProcess) -> None:
    process.labels(TEXTS)
    threads = [int(task.name) for task in Path(f"/proc/{child(process).pid}/task").iterdir()]
    assert len(threads) > 1
    assert {os.getpriority(os.PRIO_PROCESS, thread) for thread in threads} == {19}
    assert os.getpriority(os.PRIO_PROCESS, 0) < 19, "and none of ours does"


def test_it_is_told_no_settings_and_no_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOODSTREAM_KAFKA__SASL_PASSWORD", "planted-secret")
    made = ModelProcess("default@test", Order(str(bundled_model()), "null"), SystemClock().monotonic)
    made.labels(TEXTS)
    environment = Path(f"/proc/{child(made).pid}/environ").read_bytes()
    made.close()
    assert b"PATH=" in environment
    assert b"MOODSTREAM_" not in environment
    assert b"planted-secret" not in environment


def test_a_process_that_was_killed_is_started_again_but_not_again_and_again() -> None:
    clock = Hands()
    made = ModelProcess("default@test", Order(str(bundled_model()), "null"), clock)
    made.labels(TEXTS)
    first = child(made)
    for _ in range(2):  # the wait for the first start is over; then there is one after each
        clock.now += 60
        child(made).kill()
        child(made).wait()
        assert len(made.labels(TEXTS)) == len(TEXTS)
    assert child(made).pid != first.pid
    child(made).kill()
    child(made).wait()
    with pytest.raises(ModelProcessError, match="has ended"):
        made.labels(TEXTS)
    made.close()


def test_a_model_that_cannot_be_loaded_says_what_kind_of_error_it_was(tmp_path: Path) -> None:
    made = ModelProcess("none@1", Order(str(tmp_path / "nothing")), SystemClock().monotonic)
    with pytest.raises(ModelProcessError, match="none@1 failed: ArtifactError"):
        made.labels(TEXTS)
    made.close()


def test_closing_ends_it_in_the_middle_of_an_answer() -> None:
    made = ModelProcess("default@test", Order(str(bundled_model()), "null"), SystemClock().monotonic)
    made.labels(TEXTS)
    os.kill(child(made).pid, signal.SIGSTOP)  # it will not answer
    failed: list[str] = []

    def ask() -> None:
        try:
            made.labels(TEXTS)
        except ModelProcessError as error:
            failed.append(str(error))

    thread = threading.Thread(target=ask)
    thread.start()
    made.close()
    thread.join(30)
    assert failed == ["the process of default@test has ended"]
    assert child(made).poll() == -signal.SIGKILL
    with pytest.raises(ModelProcessError):
        made.labels(TEXTS)


def test_it_ends_when_its_parent_is_killed() -> None:
    program = (
        "import time\n"
        "from worker.clock import SystemClock\n"
        "from worker.model.model_process import ModelProcess, Order\n"
        "from worker.model.bundled import bundled_model\n"
        "made = ModelProcess('default@test', Order(str(bundled_model()), 'null'), SystemClock().monotonic)\n"
        "made.labels(['x'])\n"
        "print(made._child.pid, flush=True)\n"
        "time.sleep(600)\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert Path(f"/proc/{pid}").exists()
        parent.kill()
    eventually(lambda: not alive(pid), within_s=30)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False
