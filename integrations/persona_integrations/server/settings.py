"""What a gateway can be told."""

from __future__ import annotations

from typing import Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator

__all__ = ["GatewaySettings"]


class GatewaySettings(BaseModel):
    """How a gateway behaves.

    `upstream` is the base URL of the server behind it, with the path that the API has there
    ("https://api.openai.com/v1"), `upstream_key` the key it wants. With `auth="keys"` a caller needs a key of the
    gateway's own, which belongs to one tenant; with "none" whoever reaches the port is served, as the tenant of the
    settings, and without an `upstream_key` the caller's own key goes upstream.

    The person is named by `user_header`, else by the request's `safety_identifier`, else by its `user`. With `learn`,
    what people say, and that they ask again, is recorded from their requests. `learning` is where personas are brought
    up to date: in a "process" of its own, in a "thread" of this one, or nowhere ("off": `persona infer` does it).

    Times are seconds: `connect_timeout` to reach the server behind, `read_timeout` between two parts of its answer.
    `personal_timeout` is the most a request waits to be tailored. `max_body` is in bytes. `queue` is how many records
    may wait to be written before requests wait for them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    upstream: str
    upstream_key: SecretStr | None = None
    auth: Literal["keys", "none"] = "keys"
    user_header: str = Field(default="x-persona-user", pattern=r"^[A-Za-z0-9-]+$")
    learn: bool = True
    learning: Literal["process", "thread", "off"] = "process"
    learning_interval: float = Field(default=2.0, gt=0, le=3600)
    connect_timeout: float = Field(default=10.0, gt=0, le=600)
    read_timeout: float = Field(default=600.0, gt=0, le=86_400)
    personal_timeout: float = Field(default=0.5, gt=0, le=60)
    max_body: int = Field(default=64 * 2**20, ge=1024)
    max_connections: int = Field(default=1000, ge=1)
    queue: int = Field(default=1000, ge=1)

    @field_validator("upstream")
    @classmethod
    def _is_url(cls, value: str) -> str:
        parts = urlsplit(value)
        more = parts.query or parts.fragment or parts.username or parts.password
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.port == 0 or more:
            raise ValueError('is no base URL such as "https://api.openai.com/v1"')
        return value.rstrip("/")
