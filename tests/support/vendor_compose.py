"""What a compose file looks like: `python -m tests.support.vendor_compose`.

Fetches the reference implementation of the Compose Specification as a Go module, whose sum Go checks, and
writes the structure of its schema to `compose-spec.json`: no descriptions, only names and types. Needs Go;
the tests need only what it has written. Another version: change it here, run this.
"""

from __future__ import annotations

import json
from pathlib import Path

from tests.support.vendor_crds import downloaded, structure

MODULE, VERSION = "github.com/compose-spec/compose-go/v2", "v2.16.2"
FILE = Path(__file__).with_name("compose-spec.json")


def main() -> None:
    """Write it."""
    found = downloaded(MODULE, VERSION)
    schema = json.loads((Path(found["Dir"]) / "schema" / "compose-spec.json").read_text(encoding="utf-8"))
    origin = {"module": MODULE, "version": VERSION, "sum": found["Sum"], "licence": "Apache-2.0"}
    text = json.dumps({"from": origin, "schema": structure(schema)}, sort_keys=True, separators=(",", ":"))
    FILE.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
