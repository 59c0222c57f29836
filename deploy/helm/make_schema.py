"""The chart's values.schema.json: `python deploy/helm/make_schema.py` writes it anew.

What may stand under `settings` and `secrets` is made of the product's own settings, so that Helm refuses
what the product would refuse, and a secret as a plain value; the rest says what values.yaml shows. It is
committed, because Helm reads files; a test holds it to what this makes.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from worker.settings import Settings

SCHEMA = Path(__file__).parent / "moodstream" / "values.schema.json"
USER_NAMES = {("kafka", "sasl_username"), ("redis", "username"), ("registry", "username")}
"""No secrets, but often kept beside the password."""
OURS = {("worker", "instance_id")}
"""Given by the chart: one value for several workers would let them fence each other."""
_KEPT = (
    "type", "enum", "const", "pattern", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum",
    "multipleOf", "minLength", "maxLength", "minItems", "maxItems", "items", "description",
)  # fmt: skip

Schema = dict[str, Any]

TEXT: Schema = {"type": "string"}
NAME: Schema = {"type": "string", "minLength": 1}
YES_OR_NO: Schema = {"type": "boolean"}
COUNT: Schema = {"type": "integer", "minimum": 1}
SECONDS: Schema = {"type": "integer", "minimum": 1}
PORT: Schema = {"type": "integer", "minimum": 1, "maximum": 65_535}
ID: Schema = {"type": ["integer", "null"], "minimum": 1}
TEXTS: Schema = {"type": "object", "additionalProperties": TEXT}
FILES: Schema = TEXTS | {"description": "Files by name, in /etc/moodstream/files: queries, rules, hooks."}
INTEGER_OR_SHARE: Schema = {"type": ["integer", "string"], "minimum": 1, "pattern": "^[0-9]+%$"}
PEERS: Schema = {"type": "array", "items": {"type": "object", "minProperties": 1}}
SETTINGS, SECRETS = {"$ref": "#/definitions/settings"}, {"$ref": "#/definitions/secrets"}
SECRET = {"$ref": "#/definitions/secret"}
IMAGE, SPREAD = {"$ref": "#/definitions/image"}, {"$ref": "#/definitions/topologySpread"}


def section(needed: tuple[str, ...] = (), /, **properties: Schema) -> Schema:
    """An object that has these properties and no others."""
    made: Schema = {"type": "object", "additionalProperties": False, "properties": properties}
    return made | ({"required": list(needed)} if needed else {})


def matching(pattern: str, schema: Schema) -> Schema:
    """An object whose properties are called so. Of `propertyNames` Helm says a wrong place."""
    return {"type": "object", "additionalProperties": False, "patternProperties": {pattern: schema}}


def plain_and_secret(tree: Schema, node: Schema, path: tuple[str, ...] = ()) -> tuple[Schema, Schema]:
    """What may stand under `settings`, and what under `secrets`, of one section of the settings' schema."""
    plain: Schema = {}
    secret: Schema = {}
    for name, found in node["properties"].items():
        at = (*path, name)
        field = _not_null(found)
        if "$ref" in field:
            inner = tree["$defs"][field["$ref"].rpartition("/")[2]]
            plain[name], hidden = plain_and_secret(tree, inner, at)
            if hidden["properties"]:
                secret[name] = hidden
        elif _is_secret(field):
            secret[name] = SECRET
        elif at not in OURS:
            plain[name] = PORT if at[-2:] == ("http", "port") else _leaf(field)
            if at in USER_NAMES:
                secret[name] = SECRET
    return section(**plain), section(**secret)


def _not_null(field: Schema) -> Schema:
    """A setting that may be None is one that is not given."""
    [kind] = [one for one in field.get("anyOf", [{}]) if one.get("type") != "null"]
    return {**field, **kind}


def _is_secret(field: Schema) -> bool:
    return "password" in {field.get("format"), field.get("items", {}).get("format")}


def _leaf(field: Schema) -> Schema:
    kept = {key: field[key] for key in _KEPT if key in field}
    if set(kept.get("enum", ())) == {"on", "off"}:
        # Without quotes YAML takes them for true and false.
        kept = {"enum": ["on", "off", True, False], "description": kept["description"]}
    return kept


def role(**more: Schema) -> Schema:
    """What every role has."""
    return section(
        settings=SETTINGS,
        secrets=SECRETS,
        tls={"$ref": "#/definitions/tls"},
        image=IMAGE,
        resources=section(
            requests={"$ref": "#/definitions/quantities"}, limits={"$ref": "#/definitions/quantities"}
        ),
        nodeSelector=TEXTS,
        tolerations={"type": "array", "items": {"type": "object"}},
        affinity={"type": "object"},
        topologySpread=SPREAD,
        priorityClassName=TEXT,
        podAnnotations=TEXTS,
        podLabels=TEXTS,
        **more,
    )


def worker() -> Schema:
    """The worker: how many, on what, scaled by what."""
    prometheus = section(
        serverAddress=TEXT | {"pattern": "^(https?://\\S+)?$"},
        lagSeconds={"type": "number", "exclusiveMinimum": 0},
        query=TEXT,
        authenticationRef=TEXT,
        authModes=TEXT,
    )
    autoscaling = section(
        enabled=YES_OR_NO,
        minReplicas=COUNT,
        maxReplicas={"type": ["integer", "null"], "minimum": 1},
        pollingSeconds=SECONDS,
        lagRecords=COUNT,
        prometheus=prometheus,
        scaleDown=section(
            stabilizationSeconds={"type": "integer", "minimum": 0, "maximum": 3600}, podsEvery5Minutes=COUNT
        ),
    )
    return role(
        enabled=YES_OR_NO,
        replicas=COUNT,
        staticMembership=YES_OR_NO,
        gpu=section(enabled=YES_OR_NO, resource=NAME, count=COUNT, runtimeClassName=TEXT),
        models=section(existingClaim=TEXT),
        autoscaling=autoscaling,
    )


def one_source() -> Schema:
    """A source that runs for ever."""
    made = role(
        enabled=YES_OR_NO,
        kind={"enum": ["bluesky", "mastodon", "x", "webhook"]},
        args={"type": "array", "items": NAME, "description": "Options of `moodstream source KIND`."},
        files=FILES,
        replicas=COUNT | {"description": "More than one of a webhook only."},
        secretEnv=matching("^[A-Z_][A-Z0-9_]*$", SECRET)
        | {"description": "Variables that a webhook's hooks.toml names in secret_env."},
    )
    return made | {"required": ["kind"]}


def network_policy() -> Schema:
    """Who may talk with whom."""
    return section(
        enabled=YES_OR_NO,
        dns=PEERS,
        kafka=section(to=PEERS, ports={"type": "array", "items": PORT}),
        redis=section(to=PEERS, ports={"type": "array", "items": PORT}),
        tracing=section(to=PEERS),
        registry=section(to=PEERS, ports={"type": "array", "items": PORT}),
        prometheus=section(**{"from": PEERS}),
        clients=section(**{"from": PEERS}),
        https=section(to=PEERS),
    )


def definitions() -> Schema:
    """What is referred to."""
    tree = Settings.model_json_schema()
    settings, secrets = plain_and_secret(tree, tree)
    certificates = section(existingSecret=TEXT, ca=TEXT, certificate=TEXT, key=TEXT)
    spread = section(
        ("topologyKey",),
        topologyKey=NAME,
        maxSkew=COUNT,
        whenUnsatisfiable={"enum": ["ScheduleAnyway", "DoNotSchedule"]},
    )
    quantity = {"type": ["string", "number"], "pattern": "^[0-9.]+[A-Za-z]*$"}
    return {
        "settings": settings,
        "secrets": secrets,
        "secret": section(("existingSecret", "key"), existingSecret=NAME, key=NAME),
        "tls": section(kafka=certificates, redis=certificates, registry=certificates),
        "image": section(repository=TEXT, tag=TEXT, pullPolicy={"enum": ["Always", "IfNotPresent", "Never"]}),
        "quantities": {"type": "object", "additionalProperties": quantity},
        "topologySpread": {"type": "array", "items": spread},
    }


def made() -> str:
    """The file's content."""
    schema = section(
        **{"global": {"type": "object", "description": "Of a chart around this one; not looked at."}},
        nameOverride=TEXT,
        fullnameOverride=TEXT,
        image=IMAGE,
        imagePullSecrets={"type": "array", "items": NAME},
        serviceAccountName=TEXT,
        settings=SETTINGS,
        secrets=SECRETS,
        tls={"$ref": "#/definitions/tls"},
        security=section(runAsUser=ID, runAsGroup=ID, fsGroup=ID),
        topologySpread=SPREAD,
        podDisruptionBudget=section(
            enabled=YES_OR_NO, maxUnavailable=INTEGER_OR_SHARE
        ),
        worker=worker(),
        trends=role(
            enabled=YES_OR_NO, replicas=COUNT, strategy={"enum": ["Recreate", "RollingUpdate"]}, files=FILES
        ),
        quality=role(enabled=YES_OR_NO, replicas=COUNT),
        sources=matching("^[a-z]([a-z0-9-]{0,18}[a-z0-9])?$", one_source()),
        source=role(),
        topics=role(create=YES_OR_NO, waitSeconds=SECONDS),
        serviceMonitor=section(
            enabled=YES_OR_NO, interval={"type": "string", "pattern": "^[0-9]+(ms|s|m)$"}, labels=TEXTS
        ),
        networkPolicy=network_policy(),
    )  # fmt: skip
    head = {"$schema": "http://json-schema.org/draft-07/schema#", "title": "Values of the chart moodstream"}
    return json.dumps(head | schema | {"definitions": definitions()}, indent=2) + "\n"


if __name__ == "__main__":
    SCHEMA.write_text(made(), encoding="utf-8")
