"""Trends whose script does not look at the offset, so that the checker has something to find."""

from __future__ import annotations

from importlib import resources
from typing import Any

from tests.chaos import process
from worker.trends import redis_store, role

_CHECK = """if not as_believed then
  return answer
end
"""


class UncheckedStore(redis_store.RedisTrendStore):
    """Counts whatever it is given, wherever Redis stands."""

    def __init__(self, client: Any, *arguments: Any, **more: Any) -> None:
        super().__init__(client, *arguments, **more)
        self._script = client.register_script(unchecked_script())


def unchecked_script() -> str:
    """The product's script, less the comparison.

    Raises:
        ValueError: it is not there any more: this mutation has to follow the script.
    """
    script = resources.files("worker.trends").joinpath("apply.lua").read_text(encoding="utf-8")
    if script.count(_CHECK) != 1:
        raise ValueError("apply.lua has changed: where does it compare the offset now?")
    return script.replace(_CHECK, "")


if __name__ == "__main__":
    setattr(role, "RedisTrendStore", UncheckedStore)  # noqa: B010 - it is not exported
    process.run()
