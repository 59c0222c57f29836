"""`python -m worker`: the `moodstream` command without its script."""

from __future__ import annotations

from worker.cli import main

main()
