"""Which uploads are tagged anew, and which of them need no file for it: conditions for the database."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import JSON, ColumnElement, and_, exists, not_, or_, true, type_coerce

from store.schema import Document, TaggerState, Upload
from store.schema_labels import EncodingKept
from store.where import parse

ANALYSED = ("ok", "degraded")
"""Outcomes of uploads that taggers have spoken of."""


@dataclass(frozen=True)
class Selection:
    """Which uploads: any of `stale`, `missing` and `failed`, and of these the ones that `where` holds for."""

    stale: tuple[str, ...] = ()
    """Taggers: uploads of which another version than the target, or one beside it, spoke."""
    missing: tuple[str, ...] = ()
    """Taggers: uploads that were analysed and asked for it, and of which it did not speak."""
    failed: bool = False
    """Uploads that ended without being analysed: corrupt, timeout, quarantined and the like."""
    where: str | None = None
    """See `store.where`."""


@dataclass(frozen=True)
class Target:
    """What shall speak: the tagger's version, and the encoders (name to version) whose rows it reads. `from_kept`
    False: it reads more than what is kept."""

    tagger: str
    version: str
    encoders: Mapping[str, str]
    from_kept: bool = True
    beside: tuple[str, ...] = ()
    """Other versions that speak of some uploads at present (a canary): what they said is not stale."""


def chosen(selection: Selection, targets: Sequence[Target]) -> ColumnElement[bool]:
    """Uploads that a selection finds. Raises `store.where.BadCondition`."""
    current = {target.tagger: (target.version, *target.beside) for target in targets}
    kinds: list[ColumnElement[bool]] = []
    for tagger in selection.stale:
        kinds.append(_spoke(tagger, TaggerState.version.not_in(current[tagger])))
    for tagger in selection.missing:
        kinds.append(and_(Upload.outcome.in_(ANALYSED), _wants(tagger), not_(_spoke(tagger))))
    if selection.failed:
        kinds.append(and_(Upload.outcome.not_in(ANALYSED), Upload.state.in_(("done", "quarantined"))))
    conditions = [Upload.revision > 0, *([or_(*kinds)] if kinds else [])]
    if selection.where is not None:
        conditions.append(parse(selection.where))
    return and_(*conditions)


def _spoke(tagger: str, *more: ColumnElement[bool]) -> ColumnElement[bool]:
    return (
        exists().where(TaggerState.upload_id == Upload.upload_id, TaggerState.tagger == tagger, *more).correlate(Upload)
    )


def _wants(tagger: str) -> ColumnElement[bool]:
    """Uploads whose request asks for the tagger."""
    asked_for = type_coerce(Upload.request, JSON)["taggers"].as_string()
    return or_(asked_for.is_(None), asked_for.contains(f'"{tagger}"', autoescape=True))


def kept(targets: Sequence[Target]) -> ColumnElement[bool]:
    """Uploads whose kept evidence serves every target that their request asks for."""
    if not targets or not all(target.from_kept for target in targets):
        return not_(true())
    artifact = (
        exists()
        .where(
            Document.upload_id == Upload.upload_id,
            Document.revision == Upload.revision,
            Document.artifact.is_not(None),
        )
        .correlate(Upload)
    )
    served = [
        or_(not_(_wants(target.tagger)), and_(true(), *map(_has_rows, target.encoders.items()))) for target in targets
    ]
    # What was kept before encodings were noted has not all that heads read.
    noted = exists().where(EncodingKept.upload_id == Upload.upload_id).correlate(Upload)
    return and_(Upload.outcome.in_(ANALYSED), artifact, noted, *served)


def _has_rows(encoder: tuple[str, str]) -> ColumnElement[bool]:
    name, version = encoder
    mine = (EncodingKept.upload_id == Upload.upload_id, EncodingKept.encoder == name, EncodingKept.version == version)
    return exists().where(*mine).correlate(Upload)


def stale(targets: Sequence[Target]) -> ColumnElement[bool]:
    """Uploads with rows of another version of an encoder that a target reads."""
    return exists().where(EncodingKept.upload_id == Upload.upload_id, other_version(targets)).correlate(Upload)


def other_version(targets: Sequence[Target]) -> ColumnElement[bool]:
    """Rows of `encodings` of another version of an encoder that a target reads."""
    pairs = sorted({pair for target in targets for pair in target.encoders.items()})
    others = [and_(EncodingKept.encoder == encoder, EncodingKept.version != version) for encoder, version in pairs]
    return or_(*others) if others else not_(true())
