"""Links do to bytes what they are told."""

from __future__ import annotations

import socket
import socketserver
import threading
import time
from collections.abc import Iterator

import pytest

from tests.support.network import FAIR, Link, Network, Weather
from worker.local.processes import HOST


class _Echo(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        while data := self.request.recv(65536):
            self.request.sendall(data)


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    block_on_close = False


@pytest.fixture
def network() -> Iterator[Network]:
    with Network() as made:
        yield made


@pytest.fixture
def link(network: Network) -> Iterator[Link]:
    with _Server((HOST, 0), _Echo) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield network.link(server.server_address[1])
        server.shutdown()


def connected(link: Link) -> socket.socket:
    return socket.create_connection((HOST, link.port), timeout=5)


def echo(client: socket.socket, data: bytes) -> bytes:
    client.sendall(data)
    found = b""
    while len(found) < len(data):
        part = client.recv(65536)
        if not part:
            break
        found += part
    return found


def ended(client: socket.socket) -> bool:
    """Whether the connection is over, told by an end or by a reset."""
    try:
        return client.recv(10) == b""
    except ConnectionError:
        return True


def test_a_fair_link_passes_everything(link: Link) -> None:
    with connected(link) as client:
        data = bytes(range(256)) * 2000
        sending = threading.Thread(target=client.sendall, args=(data,))
        sending.start()
        found = b""
        while len(found) < len(data):
            found += client.recv(65536)
        sending.join()
    assert found == data


def test_a_cut_breaks_what_is_there_and_what_comes(network: Network, link: Link) -> None:
    with connected(link) as client:
        assert echo(client, b"before") == b"before"
        network.set(link, Weather(cut=True))
        assert ended(client)
    with connected(link) as late:
        assert ended(late)
    network.set(link, FAIR)
    with connected(link) as again:
        assert echo(again, b"after") == b"after"


def test_silence_holds_bytes_back_and_loses_none(network: Network, link: Link) -> None:
    with connected(link) as client:
        network.set(link, Weather(silent=True))
        client.sendall(b"held")
        client.settimeout(0.3)
        with pytest.raises(TimeoutError):
            client.recv(10)
        network.set(link, FAIR)
        client.settimeout(5)
        assert client.recv(10) == b"held"


def test_a_delay_is_felt_in_both_directions(network: Network, link: Link) -> None:
    network.set(link, Weather(delay_s=0.1))
    with connected(link) as client:
        start = time.monotonic()
        assert echo(client, b"x") == b"x"
        assert time.monotonic() - start >= 0.2


def test_a_throttled_link_takes_its_time(network: Network, link: Link) -> None:
    network.set(link, Weather(bytes_per_s=40_000))
    with connected(link) as client:
        start = time.monotonic()
        assert echo(client, b"x" * 10_000) == b"x" * 10_000
        assert time.monotonic() - start >= 0.25


def test_the_end_of_one_side_reaches_the_other(link: Link) -> None:
    with connected(link) as client:
        assert echo(client, b"x") == b"x"
        client.shutdown(socket.SHUT_WR)
        assert ended(client)
