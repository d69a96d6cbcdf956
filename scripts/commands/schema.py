"""`tagfarm schema`: the published contract as JSON Schema."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from scripts.console import emit, err, fail


def schemas() -> dict[str, dict[str, Any]]:
    """File name to JSON Schema."""
    from tasks.contract import TagDocument, TagUpload

    return {
        "tag_upload.schema.json": TagUpload.model_json_schema(by_alias=True, mode="validation"),
        "tag_document.schema.json": TagDocument.model_json_schema(by_alias=True, mode="serialization"),
    }


def schema(
    write: Annotated[Path | None, typer.Option(help="Folder to write the two files to.")] = None,
    check: Annotated[Path | None, typer.Option(help="Fail if this folder's files are not up to date.")] = None,
) -> None:
    """Print, write or check the contract's JSON Schema (TagUpload in, TagDocument out)."""
    published = schemas()
    if write is None and check is None:
        emit(published)
        return
    for name, value in published.items():
        text = json.dumps(value, indent=2, ensure_ascii=False) + "\n"
        if write is not None:
            write.mkdir(parents=True, exist_ok=True)
            (write / name).write_text(text)
            err.print(f"wrote {write / name}")
        if check is not None and (not (check / name).is_file() or (check / name).read_text() != text):
            fail(f"{check / name} is not what the code publishes; run: tagfarm schema --write {check}")
