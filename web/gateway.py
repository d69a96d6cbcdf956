"""The HTTP gateway: what the queue and the store offer, for those who speak HTTP rather than Celery or SQL."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Depends, FastAPI, HTTPException, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse
from kombu.exceptions import OperationalError
from pydantic import BaseModel

from store.artifacts import ArtifactCorrupt, ArtifactStore
from store.store import Store, StoreUnavailable, UnknownUpload
from tasks.contract import TagDocument, TagUpload
from tasks.enqueue import Sender
from tasks.labels import LabelFault, Vocabulary, parse, record_of
from web.access import Access, BodyLimit, WebLimits
from web.report import render

MAX_PAGE = 500


class LabelBody(BaseModel):
    """One decision of a person."""

    tag: str
    decision: str
    by: str
    tagger: str = "topics"
    note: str | None = None


def create_gateway(
    store: Store, artifacts: ArtifactStore, sender: Sender, token: str | None, limits: WebLimits | None = None
) -> FastAPI:
    """The application.

    With tokens (this one, or some in the store) every call must carry `Authorization: Bearer TOKEN`; see `Access`.
    """
    limits = limits or WebLimits()
    access = Access(store, token, limits)
    # The generated pages about the API would answer without the token.
    pages: dict[str, Any] = {} if access.open else {"docs_url": None, "redoc_url": None, "openapi_url": None}
    gateway = FastAPI(title="tagfarm", version="1", **pages)
    gateway.add_middleware(BodyLimit, max_bytes=limits.max_body_bytes)
    may_send, may_read = [Depends(access.needs("enqueue"))], [Depends(access.needs("read"))]

    @gateway.exception_handler(StoreUnavailable)
    def away(_: Request, error: StoreUnavailable) -> JSONResponse:
        return JSONResponse({"detail": "the store is away; try again"}, status_code=503)

    @gateway.exception_handler(RequestValidationError)
    def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        # What was sent is not sent back: it may be secret, or no text at all.
        problems = [{"loc": one["loc"], "msg": one["msg"], "type": one["type"]} for one in error.errors()]
        return JSONResponse({"detail": problems}, status_code=422)

    @gateway.post("/v1/uploads", status_code=202, dependencies=may_send)
    def enqueue(upload: TagUpload) -> dict[str, str]:
        """Enqueue one upload."""
        try:
            return {"upload_id": upload.upload_id, "message": sender.send(upload)}
        except OperationalError as error:
            raise HTTPException(503, "the broker cannot be reached; try again") from error

    @gateway.get(
        "/v1/uploads/{upload_id}", response_model=TagDocument, response_model_by_alias=True, dependencies=may_read
    )
    def document(upload_id: str) -> Any:
        """One upload's document."""
        found = store.document(upload_id)
        if found is None:
            status = store.status(upload_id)
            raise HTTPException(404, f"no document: {status.state}" if status else "no such upload")
        return found

    @gateway.get("/v1/uploads/{upload_id}/labels", dependencies=may_read)
    def labels(upload_id: str, history: bool = False) -> list[dict[str, Any]]:
        """People's decisions on an upload's tags; with `history` also those that later ones took the place of."""
        return [record_of(row) | {"holds": row.holds} for row in store.labels(upload_id, history=history)]

    @gateway.post("/v1/uploads/{upload_id}/labels", dependencies=[Depends(access.needs("label"))])
    def label(upload_id: str, label: LabelBody, new_tags: bool = False) -> dict[str, bool]:
        """Decide on a tag: confirm, reject, add or withdraw. The document follows at once, and the feed says so."""
        try:
            parsed = parse({"upload_id": upload_id, **label.model_dump()}, Vocabulary(new_tags))
        except LabelFault as fault:
            raise HTTPException(422, f"{fault.fault}: {fault}") from fault
        done = store.label(upload_id, [parsed])
        if isinstance(done, UnknownUpload):
            raise HTTPException(404, "no such upload")
        return {"written": done.written[0], "changed": done.changed}

    @gateway.get("/v1/uploads/{upload_id}/report", response_class=HTMLResponse, dependencies=may_read)
    def report(upload_id: str) -> str:
        """One upload's report page."""
        kept = store.kept(upload_id)
        if kept is None:
            raise HTTPException(404, "no document")
        try:
            arrays = artifacts.get(kept.artifact) if kept.artifact else None
        except ArtifactCorrupt:
            arrays = None
        return render(kept.document, arrays, kept.request)

    @gateway.get("/v1/feed", dependencies=may_read)
    def feed(
        after: Annotated[int, Query(ge=0, le=2**63 - 1)] = 0, limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = 100
    ) -> dict[str, Any]:
        """The change feed after a cursor; `cursor` is what to ask with next."""
        events = store.feed(after, limit)
        return {
            "cursor": events[-1].cursor if events else after,
            "events": [
                {
                    "cursor": event.cursor,
                    "event": event.event,
                    "upload_id": event.upload_id,
                    "at": event.at.isoformat(),
                    "document": event.document,
                }
                for event in events
            ],
        }

    return gateway
