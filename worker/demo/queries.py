"""What the demo tracks, set as anybody would: through the API."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote

from worker.demo.http import put
from worker.demo.servers import Running

QUERIES: Mapping[str, str] = {
    "Travel": "train OR bus OR flight OR airport OR station",
    "Support": "support OR refund OR order OR update OR @example_support",
    "Food": 'coffee OR cake OR pasta OR pancakes OR "birthday cake"',
    "Work": 'job OR boss OR office OR meeting NOT "good job"',
}


def track(running: Running) -> None:
    """Set them.

    Raises:
        DependencyError: one was not taken.
    """
    for name, expression in QUERIES.items():
        put(f"{running.trends_url}/api/queries/{quote(name)}", {"expression": expression}, running.token)
