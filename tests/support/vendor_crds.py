"""What KEDA and the Prometheus operator say their objects look like: `python -m tests.support.vendor_crds`.

Fetches both as Go modules, whose sums Go checks, and writes the structure of the few kinds that the chart
makes, and the parameters of the triggers that it uses, to `crds/`: no descriptions, only names and types.
Needs Go; the tests need only what it has written. Another version: change it here, run this.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import yaml

FOLDER = Path(__file__).parent / "crds"
MODULES = {
    "github.com/kedacore/keda/v2": (
        "v2.21.0",
        "config/crd/bases",
        ("scaledobjects", "triggerauthentications"),
    ),
    "github.com/prometheus-operator/prometheus-operator": (
        "v0.85.0",
        "example/prometheus-operator-crd",
        ("servicemonitors",),
    ),
}
TRIGGERS = ("kafka", "prometheus")
_SCALERS = "schema/generated/scalers-schema.json"
_LICENCE = "Apache-2.0"


def downloaded(module: str, version: str) -> dict[str, str]:
    """Where Go has put a module, and its sum."""
    command = ["go", "mod", "download", "-json", f"{module}@{version}"]
    done = subprocess.run(command, cwd="/", capture_output=True, text=True, check=True)
    answer: dict[str, str] = json.loads(done.stdout)
    return answer


def structure(schema: Any) -> Any:
    """A schema without its prose. A property may be called `description`; then it is an object."""
    if isinstance(schema, dict):
        return {
            key: structure(value)
            for key, value in schema.items()
            if not (key == "description" and isinstance(value, str))
        }
    return [structure(one) for one in schema] if isinstance(schema, list) else schema


def write(name: str, origin: dict[str, str], content: dict[str, Any]) -> None:
    """One file of `crds/`, with where it is from."""
    text = json.dumps({"from": origin, **content}, sort_keys=True, separators=(",", ":"))
    (FOLDER / f"{name}.json").write_text(text + "\n", encoding="utf-8")


def main() -> None:
    """Write all of them."""
    FOLDER.mkdir(exist_ok=True)
    for module, (version, folder, plurals) in MODULES.items():
        found = downloaded(module, version)
        origin = {"module": module, "version": version, "sum": found["Sum"], "licence": _LICENCE}
        root = Path(found["Dir"])
        for plural in plurals:
            [path] = (root / folder).glob(f"*_{plural}.yaml")
            spec = yaml.safe_load(path.read_text(encoding="utf-8"))["spec"]
            for one in spec["versions"]:
                content = {
                    "apiVersion": f"{spec['group']}/{one['name']}",
                    "kind": spec["names"]["kind"],
                    "schema": structure(one["schema"]["openAPIV3Schema"]),
                }
                write(spec["names"]["kind"].lower(), origin, content)
        if (root / _SCALERS).is_file():
            scalers = json.loads((root / _SCALERS).read_text(encoding="utf-8"))["scalers"]
            kept = {one["type"]: one["parameters"] for one in scalers if one["type"] in TRIGGERS}
            write("triggers", origin, {"triggers": kept})


if __name__ == "__main__":
    main()
