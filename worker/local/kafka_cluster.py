"""Several Apache Kafka nodes as one cluster, each a process of its own that can be killed and started.

Every node is broker and controller. Clients come through listeners: `DIRECT` leads to the node itself; each
door is one more listener, whose advertised port may be that of a proxy in front of the node.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from worker.local.kafka import RealKafka, new_cluster_id
from worker.local.processes import HOST, free_port
from worker.local.server import Startable

DIRECT = "DIRECT"
"""The listener of brokers among themselves, and of clients that no proxy stands before."""

_PORTS = (10_000, 20_000)
"""Apart from those that all other servers draw: a node that is killed must get its ports back."""
_KEPT = ("offsets.topic", "transaction.state.log", "share.coordinator.state.topic")


class KafkaCluster(Startable):
    """`nodes` Kafka nodes; where there are three, all is kept three times and confirmed by two.

    Args:
        nodes: How many.
        doors: More listeners: by name, the port that each node advertises there, in the order of the nodes.
        properties: The server's own, for every node.
        heap: Of each node.
    """

    def __init__(
        self,
        nodes: int = 3,
        *,
        doors: Mapping[str, Sequence[int]] | None = None,
        properties: Mapping[str, str] | None = None,
        heap: str = "400m",
    ) -> None:
        cluster_id = new_cluster_id()
        self.nodes = [RealKafka(heap=heap, cluster_id=cluster_id) for _ in range(nodes)]
        for node, port in zip(self.nodes, _free_ports(nodes), strict=True):
            node.port = port
        self._ports = {name: _free_ports(nodes) for name in doors or {}}
        controllers = _free_ports(nodes)
        voters = ",".join(f"{id_}@{HOST}:{port}" for id_, port in enumerate(controllers, start=1))
        for number, node in enumerate(self.nodes):
            listening = {DIRECT: node.port, **{name: ports[number] for name, ports in self._ports.items()}}
            advertised = {DIRECT: node.port, **{name: ports[number] for name, ports in (doors or {}).items()}}
            node.properties |= {
                "node.id": str(number + 1),
                "controller.quorum.voters": voters,
                "listeners": _addresses({**listening, "CONTROLLER": controllers[number]}),
                "advertised.listeners": _addresses(advertised),
                "listener.security.protocol.map": ",".join(
                    f"{name}:PLAINTEXT" for name in (*listening, "CONTROLLER")
                ),
                "inter.broker.listener.name": DIRECT,
                "num.network.threads": "1",  # of each listener
                **_replicated(nodes),
                **(properties or {}),
            }

    @property
    def bootstrap(self) -> str:
        """`bootstrap.servers` that lead to the nodes themselves."""
        return ",".join(node.bootstrap for node in self.nodes)

    def port(self, door: str, node: int) -> int:
        """Where a node really listens for those who come through a door."""
        return self._ports[door][node]

    def start(self) -> None:
        """Start all nodes at once: none is ready before most of them are there.

        Raises:
            DependencyError: something they need is missing, or one did not come up.
        """
        with ThreadPoolExecutor(len(self.nodes)) as starters:
            for done in [starters.submit(node.start) for node in self.nodes]:
                done.result()

    def close(self) -> None:
        """Kill all nodes and remove their folders."""
        for node in self.nodes:
            with suppress(OSError):
                node.close()

    def __iter__(self) -> Iterator[RealKafka]:
        return iter(self.nodes)


def _replicated(nodes: int) -> dict[str, str]:
    copies, confirming = str(min(3, nodes)), str(min(2, nodes))
    return {
        "default.replication.factor": copies,
        "min.insync.replicas": confirming,
        **{f"{topic}.replication.factor": copies for topic in _KEPT},
        **{f"{topic}.min.isr": confirming for topic in _KEPT[1:]},
    }


def _addresses(ports: Mapping[str, int]) -> str:
    return ",".join(f"{name}://{HOST}:{port}" for name, port in ports.items())


def _free_ports(n: int) -> list[int]:
    return [free_port(*_PORTS) for _ in range(n)]
