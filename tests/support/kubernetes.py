"""What Kubernetes, KEDA and the Prometheus operator would refuse of an object, by their own schemas."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator, ValidationError
from kubernetes_validate.utils import schema_contents
from referencing import Registry, Resource

CRDS = Path(__file__).parent / "crds"


def faults(manifest: dict[str, Any], version: str) -> list[str]:
    """What is wrong with an object, in Kubernetes of a version such as 1.37; unknown fields are."""
    validator = _defined(manifest["kind"]) or _built_in(manifest["apiVersion"], manifest["kind"], version)
    found = [_told(error) for error in validator.iter_errors(manifest)]
    return [*found, *_triggers(manifest)] if manifest["kind"] == "ScaledObject" else found


def _told(error: ValidationError) -> str:
    return f"{'.'.join(map(str, error.absolute_path))}: {error.message}"


@cache
def _built_in(api: str, kind: str, version: str) -> Draft202012Validator:
    folder = f"kubernetes-json-schema/v{version}.0-local-strict"
    group = re.sub(r"^([^./]*)(?:\.[^/]*)?/", r"\1-", api)
    schema = schema_contents(f"{folder}/{kind.lower()}-{group}.json", version)
    return Draft202012Validator(schema, registry=_definitions(folder, version))


@cache
def _definitions(folder: str, version: str) -> Registry[Any]:
    shared: Resource[Any] = Resource.from_contents(schema_contents(f"{folder}/_definitions.json", version))
    return shared @ Registry()


@cache
def _defined(kind: str) -> Draft202012Validator | None:
    path = CRDS / f"{kind.lower()}.json"
    if not path.is_file():
        return None
    found = json.loads(path.read_text(encoding="utf-8"))
    schema = _closed(found["schema"])
    properties = {
        **schema["properties"],
        "apiVersion": {"const": found["apiVersion"]},
        "metadata": {"type": "object", "required": ["name"]},
    }
    return Draft202012Validator({**schema, "properties": properties})


def _closed(schema: Any) -> Any:
    """The same, without room for fields that it does not name; the API server would drop them in silence."""
    if isinstance(schema, list):
        return [_closed(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {key: _closed(value) for key, value in schema.items()}
    if closed.get("type") == "object" and isinstance(closed.get("properties"), dict):
        closed.setdefault("additionalProperties", False)
    return closed


def _triggers(scaled: dict[str, Any]) -> Iterator[str]:
    """A trigger's metadata are free text to the schema, but not to KEDA."""
    known = json.loads((CRDS / "triggers.json").read_text(encoding="utf-8"))["triggers"]
    for trigger in scaled["spec"]["triggers"]:
        parameters = {
            one["name"]: one for one in known[trigger["type"]] if one.get("metadataVariableReadable")
        }
        given = trigger["metadata"]
        where = f"trigger {trigger['name']}"
        yield from (f"{where}: no parameter {name}" for name in given if name not in parameters)
        for name, one in parameters.items():
            allowed = one.get("allowedValue")
            if name not in given:
                if not one.get("optional") and "default" not in one:
                    yield f"{where}: {name} is missing"
            elif not isinstance(given[name], str):
                yield f"{where}: {name} is no text"
            elif allowed and given[name] not in allowed:
                yield f"{where}: {name} is none of {', '.join(allowed)}"
