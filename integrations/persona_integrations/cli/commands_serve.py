"""`persona serve` and `persona keys`: the gateway, and who may use it."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Annotated, Any

import typer

from persona_integrations.cli.context import JsonOption, given
from persona_integrations.cli.terminal import clean, complain, emit_json, output

if TYPE_CHECKING:
    from persona_integrations.server import Key, KeyStore

__all__ = ["create", "list_keys", "revoke", "serve"]

_PORT = 8088


def serve(  # noqa: PLR0913, PLR0917 - its options
    ctx: typer.Context,
    upstream: Annotated[
        str,
        typer.Option(metavar="URL", help="The base URL of the server behind.", envvar="PERSONA_UPSTREAM"),
    ],
    host: Annotated[str, typer.Option(metavar="H", help="The address to serve on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(metavar="N", help="The port to serve on.", min=1, max=65535)] = _PORT,
    workers: Annotated[int, typer.Option(metavar="N", help="Processes that answer.", min=1, max=256)] = 1,
    auth: Annotated[str, typer.Option(metavar="A", help='"keys", or "none": serve whoever reaches it.')] = "keys",
    user_header: Annotated[
        str, typer.Option(metavar="NAME", help="The header that names the person, before the request's own fields.")
    ] = "x-persona-user",
    learn: Annotated[bool, typer.Option(help="Record what requests show of the people in them.")] = True,
    learning: Annotated[
        str, typer.Option(metavar="WHERE", help='Learn in a "process", in a "thread", or not here: "off".')
    ] = "process",
    timeout: Annotated[
        float, typer.Option(metavar="S", help="Seconds the model may be silent.", min=1, max=86400)
    ] = 600.0,
) -> None:
    """Personalise apps that speak OpenAI's protocol, without touching their code: they change their base URL.

    The key that the server behind wants is read from PERSONA_UPSTREAM_KEY.
    """
    from pydantic import ValidationError  # noqa: PLC0415 - loaded when used

    from persona_integrations.server import GatewaySettings  # noqa: PLC0415 - optional
    from persona_integrations.server.serving import check_host, upstream_key  # noqa: PLC0415 - optional
    from persona_integrations.server.serving import serve as run  # noqa: PLC0415 - optional
    from persona_sdk.errors import SettingsError  # noqa: PLC0415 - loaded when used

    values: dict[str, Any] = {"upstream": upstream, "auth": auth, "learn": learn, "learning": learning}
    try:
        settings = GatewaySettings(**values, user_header=user_header, read_timeout=timeout, upstream_key=upstream_key())
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        option = str(first["loc"][0]).replace("_", "-").replace("read-timeout", "timeout")
        raise SettingsError(f"--{option}: {first['msg'].removeprefix('Value error, ')}") from None
    given(ctx).export()
    if auth == "keys":
        with closing(_store(ctx)) as store:
            if not any(not key.revoked for key in store.all()):
                complain("there are no keys yet, so nobody can ask: make one with `persona keys create`")
    check_host(settings, host)
    complain(f"serving http://{host}:{port}/v1 before {settings.upstream}; the API is described at /docs")
    run(settings, host=host, port=port, workers=workers)


def create(
    ctx: typer.Context,
    scope: Annotated[
        list[str] | None,
        typer.Option(
            metavar="S", help='"chat", "feedback" or "admin"; repeat it for several.', show_default="chat feedback"
        ),
    ] = None,
    label: Annotated[str, typer.Option(metavar="TEXT", help="What the key is for.")] = "",
    json_output: JsonOption = False,
) -> None:
    """Make a key for the tenant, and print it: it cannot be shown again, only its hash is kept."""
    with closing(_store(ctx)) as store:
        text, key = store.create(given(ctx).settings().tenant, scope or ["chat", "feedback"], label)
    if json_output:
        emit_json({**_shown(key), "key": text})
        return
    complain(f"key {key.id} of tenant {clean(key.tenant)}, for {', '.join(sorted(key.scopes))}; it is not shown again:")
    output().print(text)


def list_keys(ctx: typer.Context, json_output: JsonOption = False) -> None:
    """List the keys of the tenant: what they may do, and whether they still may."""
    tenant = given(ctx).settings().tenant
    with closing(_store(ctx)) as store:
        keys = [key for key in store.all() if key.tenant == tenant]
    if json_output:
        emit_json([_shown(key) for key in keys])
        return
    for key in keys:
        state = "revoked" if key.revoked else ", ".join(sorted(key.scopes))
        output().print(f"{key.id}  {key.created:%Y-%m-%d}  {state}  {clean(key.label)}".rstrip())
    if not keys:
        complain("there are no keys; make one with `persona keys create`")


def revoke(
    ctx: typer.Context, key: Annotated[str, typer.Argument(metavar="ID", help="The key's id.", show_default=False)]
) -> None:
    """Refuse a key from now on; gateways that just used it follow within seconds."""
    tenant = given(ctx).settings().tenant
    with closing(_store(ctx)) as store:
        store.revoke(key, tenant)
    complain(f"key {key} is revoked")


def _store(ctx: typer.Context) -> KeyStore:
    from persona_integrations.server import KeyStore  # noqa: PLC0415 - optional
    from persona_integrations.server.database import Database  # noqa: PLC0415 - optional

    return KeyStore(Database(given(ctx).settings().database_url))


def _shown(key: Key) -> dict[str, Any]:
    return {
        "id": key.id,
        "tenant": key.tenant,
        "scopes": sorted(key.scopes),
        "label": key.label,
        "created": key.created.isoformat(),
        "revoked": key.revoked,
    }
