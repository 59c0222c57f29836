"""Where traces go."""

from __future__ import annotations

import re
from urllib.parse import unquote, urlsplit

from pydantic import (
    Field,
    SecretStr,
    field_validator,
)

from worker.settings.base import Ratio, Section

_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
"""What RFC 9110 lets a header be called."""


class TracingSettings(Section):
    """Traces of batches, to an OpenTelemetry collector: worker and trends. Off without an endpoint."""

    endpoint: str | None = Field(
        default=None,
        description="The collector's base URL (OTLP over HTTP); spans go to its /v1/traces. Needs the extra "
        "`tracing`. Not given: no traces, whatever OTEL_* says.",
        examples=["http://otel-collector:4318"],
    )
    sample: Ratio = Field(
        default=1.0, description="Share of the batches that are traced, chosen by chance; 0: only passes on "
        "the contexts that records bring.",
    )  # fmt: skip
    headers: SecretStr | None = Field(
        default=None,
        description="Sent to the collector with each request, as name=value with commas between and values "
        "percent-encoded: authorization=Bearer%20... It is a secret.",
    )

    @field_validator("endpoint")
    @classmethod
    def _base_url(cls, value: str | None) -> str | None:
        if value is None:
            return None
        if "@" in value:
            raise ValueError("put what authorises into tracing.headers, not the URL")
        try:
            url = urlsplit(value)
            fits = url.scheme in {"http", "https"} and bool(url.hostname) and url.port != 0
        except ValueError:
            fits = False
        if not fits or url.query or url.fragment or re.search(r"\s", value):
            raise ValueError("must be an http:// or https:// URL without query")
        return value.rstrip("/")

    @field_validator("headers")
    @classmethod
    def _readable(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            _pairs(value.get_secret_value())
        return value

    @property
    def url(self) -> str | None:
        """Where spans are posted to."""
        if self.endpoint is None or self.endpoint.endswith("/v1/traces"):
            return self.endpoint
        return f"{self.endpoint}/v1/traces"

    @property
    def header_map(self) -> dict[str, str]:
        """The headers, by name. Secret."""
        return {} if self.headers is None else _pairs(self.headers.get_secret_value())


def _pairs(text: str) -> dict[str, str]:
    """The pairs of `name=value,name=value`. Says which is wrong by its place: the text is secret."""
    found = {}
    for place, pair in enumerate(text.split(","), 1):
        name, equals, value = pair.strip().partition("=")
        value = unquote(value)
        if not equals or not _NAME.fullmatch(name) or not (value.isascii() and value.isprintable()):
            raise ValueError(f"pair {place} is not name=value with a percent-encoded value")
        found[name.lower()] = value
    return found
