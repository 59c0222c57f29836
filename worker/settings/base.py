"""What every section of the settings is made of."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    field_validator,
)

Port = Annotated[int, Field(ge=0, le=65535)]
Seconds = Annotated[float, Field(gt=0)]
Ratio = Annotated[float, Field(ge=0, le=1)]
TopicName = Annotated[str, Field(pattern=r"^[a-zA-Z0-9._-]{1,249}$")]
Weight = Annotated[str, Field(pattern=r"^[a-zA-Z0-9._-]{1,249}=[1-9][0-9]{0,3}$")]

InputFormat = Annotated[str, Field(pattern=r"^[a-zA-Z0-9._-]{1,249}=(json|avro|protobuf)$")]


class Section(BaseModel):
    """Frozen; a name that it does not know is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class HttpSettings(Section):
    """Where a role answers /livez, /readyz and /metrics."""

    host: str = Field(default="127.0.0.1", description="Address to bind; 0.0.0.0 inside a container.")
    port: Port = Field(default=0, description="Port to bind; 0 lets the system choose one and logs it.")
    token: SecretStr | None = Field(
        default=None,
        min_length=16,
        description="Bearer token that requests must bring which change something (corrections, queries); "
        "without one they are refused. For example the output of `openssl rand -hex 24`.",
    )

    allowed_hosts: tuple[str, ...] = Field(
        default=(),
        description="Names, separated by commas, under which it is asked, as a proxy passes them on; "
        "localhost and addresses always are. Where none is given and host is a loopback address, no other "
        "name is taken: a web page could point its own at this machine.",
        examples=["moods.example.com"],
    )
    requests_per_s: float = Field(
        default=50.0,
        ge=0,
        le=100_000,
        description="Most requests a second from one address (four times as many in a burst); 0: no limit. "
        "Behind a proxy all come from one address. Health checks are not counted.",
    )

    @field_validator("allowed_hosts", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(part.strip().lower() for part in value.split(",") if part.strip())
        return value

    @field_validator("token")
    @classmethod
    def _sendable(cls, value: SecretStr | None) -> SecretStr | None:
        # What RFC 6750 lets a header carry. A trailing newline from a file would never match, and in silence.
        if value is not None and not re.fullmatch(r"[A-Za-z0-9._~+/-]+=*", value.get_secret_value()):
            raise ValueError("a bearer token holds letters, digits and . _ ~ + / - only, = at its end")
        return value
