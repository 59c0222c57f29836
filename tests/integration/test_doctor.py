"""`moodstream doctor` on real servers: what is well is called well, and each planted fault by its name.

Refusals (wrong password, missing ACL, certificates) are in tests/security/test_doctor_locked.py.
"""

from __future__ import annotations

import json
import shutil
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import numpy as np
import pytest
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient
from numpy.typing import NDArray
from redis import Redis

from tests.support.command import moodstream
from tests.support.kafka import KafkaUnderTest, create_topic, produce, unique
from worker.clock import Clock, SystemClock
from worker.configuration import load
from worker.doctor import machine
from worker.doctor.commands import examine
from worker.doctor.findings import Finding, exit_code
from worker.local import redis as local_redis
from worker.local.processes import HOST, free_port
from worker.local.redis import RealRedis
from worker.model import backend
from worker.model.bundled import bundled_model
from worker.settings import Settings
from worker.topics import admin


@pytest.fixture(scope="module")
def redis() -> Iterator[RealRedis]:
    missing = local_redis.available()
    if missing is not None:
        pytest.skip(missing)
    with RealRedis(aof=True) as server:
        yield server


def given(kafka: KafkaUnderTest, redis: RealRedis, **more: str) -> dict[str, str]:
    """Settings of a moodstream of the test's own, with free ports; `more` with `__` for the dots."""
    names = ("inputs", "labels", "dead_letters", "corrections", "judgements", "control", "alerts")
    ours = {f"topics.{name}": unique(name) for name in names}
    return {
        **ours,
        "kafka.bootstrap_servers": kafka.bootstrap,
        "redis.url": redis.url,
        "topics.partitions": "2",
        "worker.group_id": unique("worker"),
        "trends.group_id": unique("trends"),
        "worker.http.port": str(free_port()),
        "trends.http.port": str(free_port()),
        **{name.replace("__", "."): value for name, value in more.items()},
    }


def examined(
    values: dict[str, str], *, roles: tuple[str, ...] = ("worker", "trends"), clock: Clock | None = None
) -> list[Finding]:
    settings = load(flags=values, env={})
    return list(examine(settings, roles, wait_s=0.0, clock=clock or SystemClock()))


def wrong(found: list[Finding], check: str) -> Finding:
    """The one finding of a check that is not well."""
    [finding] = [one for one in found if one.check == check and one.state != "ok"]
    return finding


def at(values: dict[str, str]) -> Settings:
    return load(flags=values, env={})


@pytest.fixture(scope="module")
def well(kafka: KafkaUnderTest, redis: RealRedis) -> dict[str, str]:
    values = given(kafka, redis)
    admin.create(at(values))
    return values


def test_what_is_well_is_called_well(well: dict[str, str]) -> None:
    flags = [part for name, value in well.items() for part in ("--set", f"{name}={value}")]
    ended = moodstream(["doctor", "--json", *flags], {})
    assert ended.code == 0, ended.output
    told = json.loads(ended.stdout)
    assert told["ok"]
    assert {finding["state"] for finding in told["findings"]} == {"ok"}
    assert {finding["check"] for finding in told["findings"]} >= {
        "http.worker", "model.files", "model.answer", "redis.login", "clock", "redis.server",
        "redis.namespace", "kafka.addresses", "kafka.login", "kafka.topics", "kafka.permissions.worker",
        "kafka.permissions.trends", "kafka.group.worker", "kafka.group.trends",
    }  # fmt: skip
    again = moodstream(["doctor", "--role", "quality", *flags], {})
    assert again.code == 0, again.output
    assert again.stdout.splitlines()[-1] == "nothing is wrong"
    assert "kafka.permissions.quality" in again.stdout


def test_nobody_is_at_home() -> None:
    values = {
        "kafka.bootstrap_servers": f"{HOST}:{free_port()}",
        "redis.url": f"redis://{HOST}:{free_port()}/0",
    }
    found = examined(values, roles=("trends",))
    assert "Connection refused" in wrong(found, "kafka.addresses").said
    assert "start Kafka" in wrong(found, "kafka.addresses").mend
    assert "no answer" in wrong(found, "kafka.login").said
    assert "start Redis" in wrong(found, "redis.login").mend
    assert exit_code(found) == 3


def test_one_address_of_two_is_wrong(well: dict[str, str]) -> None:
    servers = f"no-such-host.invalid:9092,{well['kafka.bootstrap_servers']}"
    found = examined({**well, "kafka.bootstrap_servers": servers}, roles=("worker",))
    assert "no-such-host.invalid:9092" in wrong(found, "kafka.addresses").said
    assert wrong(found, "kafka.addresses").state == "note"
    assert exit_code(found) == 0


def test_topics_that_are_missing_or_too_narrow(kafka: KafkaUnderTest, redis: RealRedis) -> None:
    values = given(kafka, redis, topics__replication_factor="3")
    create_topic(kafka.bootstrap, values["topics.inputs"], partitions=1)
    found = [one for one in examined(values, roles=()) if one.check == "kafka.topics"]
    missing = {one.said.split(":")[0] for one in found if one.state == "fault"}
    assert missing == {*at(values).topics.names} - {values["topics.inputs"]}
    narrow = [one for one in found if "partitions is 1, the settings say 2" in one.said]
    assert [one.state for one in narrow] == ["note"]
    assert all("moodstream topics create" in one.mend for one in found if one.state == "fault")
    assert "moodstream topics create" in narrow[0].mend


def test_more_copies_than_brokers(well: dict[str, str]) -> None:
    found = examined({**well, "topics.replication_factor": "3"}, roles=())
    assert wrong(found, "kafka.brokers").mend.endswith("set topics.replication_factor=1")
    assert exit_code(found) == 2


def test_records_that_went_before_they_were_read(kafka: KafkaUnderTest, well: dict[str, str]) -> None:
    topic = well["topics.inputs"]
    produce(kafka.bootstrap, topic, [b"{}"] * 20)
    client = AdminClient({"bootstrap.servers": kafka.bootstrap})
    group = {"bootstrap.servers": kafka.bootstrap, "group.id": well["worker.group_id"]}
    member = Consumer(group)
    ends = {number: member.get_watermark_offsets(TopicPartition(topic, number))[1] for number in range(2)}
    fullest = max(ends, key=lambda number: ends[number])
    try:
        member.commit(offsets=[TopicPartition(topic, fullest, 1)], asynchronous=False)
        for future in client.delete_records([TopicPartition(topic, fullest, 5)]).values():
            future.result(20)
        lost = wrong(examined(well, roles=("worker",)), "kafka.group.worker")
        assert f"{topic}/{fullest} (committed 1, begins at 5)" in lost.said
        member.commit(offsets=[TopicPartition(topic, fullest, 10_000)], asynchronous=False)
        beyond = wrong(examined(well, roles=("worker",)), "kafka.group.worker")
        assert f"{topic}/{fullest} (committed 10000, ends at {ends[fullest]})" in beyond.said
        member.commit(offsets=[TopicPartition(topic, fullest, 5)], asynchronous=False)
        assert exit_code(examined(well, roles=("worker",))) == 0
    finally:
        member.close()


@pytest.mark.parametrize(
    ("options", "check", "said"),
    [
        ({"maxmemory": "100mb", "maxmemory-policy": "allkeys-lru"}, "redis.memory", "policy is allkeys-lru"),
        ({"maxmemory": "1mb", "maxmemory-policy": "noeviction"}, "redis.memory", "of maxmemory is in use"),
        ({"appendonly": "no"}, "redis.durability", "appendonly is no"),
        ({"requirepass": "secret"}, "redis.login", "redis.password"),
        ({"replicaof": f"{HOST} 1"}, "redis.role", "replica"),
    ],
    ids=["evicts", "nearly full", "forgets", "wants a password", "replica"],
)
def test_a_redis_that_is_set_up_wrong(
    well: dict[str, str], options: dict[str, str], check: str, said: str
) -> None:
    with RealRedis(options, aof="appendonly" not in options) as server:
        found = examined({**well, "redis.url": server.url}, roles=("trends",))
    assert said in wrong(found, check).said
    assert wrong(found, check).mend or "check redis.username" in wrong(found, check).said


def test_a_namespace_that_is_somebody_elses(well: dict[str, str], redis: RealRedis) -> None:
    name = unique("theirs")
    with Redis.from_url(redis.url) as client:
        client.hset(f"{{{name}:{well['topics.labels']}}}:state", "0", "hello")
    found = examined({**well, "trends.namespace": name}, roles=("trends",))
    assert "somebody else" in wrong(found, "redis.namespace").said
    assert "trends.namespace" in wrong(found, "redis.namespace").mend


class _Late(SystemClock):
    def time(self) -> float:
        return super().time() - 3600


def test_a_clock_that_is_an_hour_late(well: dict[str, str]) -> None:
    clock = wrong(examined(well, roles=("trends",), clock=_Late()), "clock")
    assert "3,600 s behind that of Redis" in clock.said
    assert "NTP" in clock.mend


def test_a_model_whose_file_was_changed(well: dict[str, str], tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(bundled_model(), folder)
    (folder / "tokenizer.json").write_text("{}")
    broken = wrong(list(machine.model(at({**well, "model.path": str(folder)}))), "model.files")
    assert "tokenizer.json" in broken.said


def test_a_model_that_does_not_answer(well: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise RuntimeError("no kernel image is available")

    monkeypatch.setattr(machine, "load", refuse)
    broken = wrong(list(machine.model(at({**well, "model.backend": "torch"}))), "model.answer")
    assert "no kernel image" in broken.said
    assert "model.backend" in broken.mend


def test_a_runtime_whose_answers_depend_on_the_batch(
    well: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As OpenVINO's did in bfloat16 with AMX: here every third of several gets an answer of its own."""

    class Mixing(backend.NullBackend):
        def logits(self, rows: Sequence[Sequence[int]]) -> NDArray[np.float32]:
            found = super().logits(rows)
            found[2::3, 0] = 3.0
            return found

    monkeypatch.setattr(backend, "NullBackend", Mixing)
    broken = wrong(list(machine.model(at({**well, "model.backend": "null"}))), "model.steady")
    assert "of 48 posts 16 get another answer beside others than alone" in broken.said
    assert "model.backend=torch" in broken.mend


def test_the_bundled_model_answers_alone_as_beside_others(well: dict[str, str]) -> None:
    [steady] = [found for found in machine.model(at(well)) if found.check == "model.steady"]
    assert steady.state == "ok", steady.said


def test_a_gpu_that_lies_idle(well: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    driver = tmp_path / "nvidia-smi"
    driver.write_text("#!/bin/sh\n")
    driver.chmod(0o755)
    monkeypatch.setattr(shutil, "which", lambda name: str(driver) if name == "nvidia-smi" else None)
    assert "runs on the CPU" in wrong(list(machine.model(at(well))), "gpu").said


class _OurMetrics(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = b"# TYPE moodstream_build_info gauge\n"
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None: ...


def test_a_port_that_somebody_has(well: dict[str, str]) -> None:
    with ExitStack() as closing:
        taken = closing.enter_context(socket.create_server((HOST, 0)))
        ours = closing.enter_context(HTTPServer((HOST, 0), _OurMetrics))
        threading.Thread(target=ours.serve_forever, daemon=True).start()
        closing.callback(ours.shutdown)
        ports = {
            "worker.http.port": str(taken.getsockname()[1]),
            "trends.http.port": str(ours.server_address[1]),
        }
        found = list(machine.addresses(at({**well, **ports}), ("worker", "trends")))
    assert "Address already in use" in wrong(found, "http.worker").said
    assert "worker.http.port" in wrong(found, "http.worker").mend
    assert found[1].state == "ok"
    assert "answers there already" in found[1].said
