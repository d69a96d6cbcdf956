"""`tagfarm tokens create`, `list` and `revoke`: keys to the HTTP gateway."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table

from scripts.console import emit, err, fail, out, plain

app = typer.Typer(help="Keys to the HTTP gateway: make, list, revoke.")
DAY_S = 86_400.0
AsJson = Annotated[bool, typer.Option("--json", help="One object a line.")]


@app.command("create")
def create(
    name: Annotated[str, typer.Argument(help="Whose it is: `upload-service`.")],
    scope: Annotated[
        list[str] | None, typer.Option(help="enqueue, read, label; repeat for several. Default: read.")
    ] = None,
    days: Annotated[float | None, typer.Option(min=0.001, help="Valid for so long. Default: until revoked.")] = None,
    as_json: AsJson = False,
) -> None:
    """Make a token and print it, this once: the store keeps only what tells it again."""
    from scripts.local import open_store
    from store.store import StoreError

    try:
        made = open_store(create=True).create_token(name, scope or ["read"], days * DAY_S if days else None)
    except StoreError as error:
        fail(str(error), code=2)
    if as_json:
        emit({"token_id": made.token_id, "token": made.text, "scopes": sorted(set(scope or ["read"]))})
        return
    out.print(made.text, highlight=False, soft_wrap=True)
    err.print(f"send it as `Authorization: Bearer TOKEN`; revoke it with: tagfarm tokens revoke {made.token_id}")


@app.command("list")
def list_tokens(as_json: AsJson = False) -> None:
    """All tokens, the newest first; never their secrets."""
    from scripts.local import open_store

    found = open_store().list_tokens()
    table = Table(box=None, header_style="dim")
    for column in ("id", "name", "scopes", "made", "last used", "state"):
        table.add_column(column)
    for one in found:
        moments = {
            moment: value.isoformat() if (value := getattr(one, moment)) is not None else None
            for moment in ("created_at", "expires_at", "revoked_at", "used_at")
        }
        if as_json:
            emit({"token_id": one.token_id, "name": one.name, "scopes": one.scopes, **moments})
        state = "revoked" if one.revoked_at else f"until {one.expires_at:%Y-%m-%d}" if one.expires_at else "valid"
        used = f"{one.used_at:%Y-%m-%d %H:%M}" if one.used_at else "never"
        made = f"{one.created_at:%Y-%m-%d}"
        table.add_row(one.token_id, plain(one.name), ", ".join(one.scopes), made, used, state)
    if not as_json:
        out.print(table)


@app.command("revoke")
def revoke(token_id: Annotated[str, typer.Argument(help="Its id, as `tagfarm tokens list` shows it.")]) -> None:
    """Make a token worthless, at once."""
    from scripts.local import open_store

    if not open_store().revoke_token(token_id):
        fail(f"no such token, or revoked already: {token_id}; see: tagfarm tokens list")
    err.print(f"{token_id} is revoked")
