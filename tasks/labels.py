"""People's labels in and out of files: JSON Lines and CSV, checked line by line before anything is written.

A line has `upload_id`, `tag` and `decision` (confirm, reject, add, withdraw), and may have `tagger` (topics), `by`,
`at` (ISO 8601 with a zone), `taxonomy` and `note`. With the tagger `quality` the decision is `rate` (or withdraw), the
tag `picture` or `score`, and `value` what the person gave: 0 to 1, or stars as `4/5`. What `export` writes, `import`
reads, and reading it twice changes nothing.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal, TextIO, get_args

from models.sounds.audioset import class_names
from models.topics.taxonomy import ID_FORM, load_taxonomy
from store.decisions import DECISIONS, RATED, RATINGS, SECTIONS
from store.store import LabelRow, NewLabel, Store, UnknownUpload

FIELDS = ("upload_id", "tagger", "tag", "decision", "value", "by", "at", "taxonomy", "note")
Format = Literal["jsonl", "csv"]
FORMATS: tuple[Format, ...] = get_args(Format)
MAX_TAG = 200
MAX_NOTE = 2000
EVENTS_LIST = "audioset@1"
"""Version of the list of events."""
QUALITY_SCALE = "quality@1"
"""Version of what amounts mean: 0 the worst, 1 the best that a phone's screen shows; one star is 0, five are 1."""
STARS = re.compile(r"([1-5](?:\.[0-9]{1,3})?)/5", re.ASCII)
CHECKED_AT_ONCE = 500
TAGGER = "topics"
"""Whose tag it is where a line does not say."""

Fault = Literal["bad_line", "missing", "bad_value", "unknown_tag", "unknown_upload"]


@dataclass(frozen=True)
class LineError:
    """What is wrong with one line. `line`: its number, from 1."""

    line: int
    fault: Fault
    message: str


@dataclass
class Import:
    """What an import did, or would do."""

    lines: int = 0
    written: int = 0
    known: int = 0
    """Decisions that were there already."""
    changed: int = 0
    """Uploads whose document says something new."""
    errors: list[LineError] = field(default_factory=list)
    applied: bool = False


class Vocabulary:
    """The tags that labels may name. `new_tags`: also others, for topics that do not exist yet."""

    def __init__(self, new_tags: bool = False) -> None:
        taxonomy = load_taxonomy()
        self._known = {"topics": set(taxonomy.index), "events": set(class_names())}
        self._known |= {tagger: set(amounts) for tagger, amounts in RATED.items()}
        self.versions = {"topics": taxonomy.version, "events": EVENTS_LIST, "quality": QUALITY_SCALE}
        self._new_tags = new_tags

    def fault(self, tagger: str, tag: str) -> str | None:
        """What is wrong with a tag; None: nothing."""
        if tag in self._known[tagger]:
            return None
        if tagger in RATED:
            return f"{tag!r} is no amount of {tagger}; there are {', '.join(RATED[tagger])}"
        if tagger == "topics" and not ID_FORM.fullmatch(tag):
            return f"{tag!r} is not of the form parent/child in lower case"
        if not self._new_tags:
            return f"{tag!r} is not in {self.versions[tagger]}; if it shall be a new tag, say --new-tags"
        return None


class LabelFault(Exception):
    """A label that cannot be taken."""

    def __init__(self, fault: Fault, message: str) -> None:
        super().__init__(message)
        self.fault: Fault = fault


def parse(record: Any, vocabulary: Vocabulary, by: str | None = None) -> NewLabel:
    """One label from a mapping of `FIELDS`. `by`: who decided, where the record does not say.

    Raises:
        LabelFault: it cannot be taken.
    """
    if not isinstance(record, dict):
        raise LabelFault("bad_line", "not an object")
    values = {name: _text(record, name) for name in FIELDS if name != "value"}
    tagger = values["tagger"] or TAGGER
    missing = [name for name in ("upload_id", "tag", "decision") if not values[name]]
    if missing:
        raise LabelFault("missing", f"without {', '.join(missing)}")
    if tagger not in (*SECTIONS, *RATED):
        raise LabelFault("bad_value", f"tagger {tagger!r} is none of {', '.join((*SECTIONS, *RATED))}")
    possible = RATINGS if tagger in RATED else DECISIONS
    if values["decision"] not in possible:
        raise LabelFault("bad_value", f"decision {values['decision']!r} is none of {', '.join(possible)} for {tagger}")
    value = _amount(record.get("value"), rated=values["decision"] == "rate")
    decider = values["by"] or by
    if not decider:
        raise LabelFault("missing", "without by: who decided?")
    tag = str(values["tag"])
    if len(tag) > MAX_TAG or len(decider) > MAX_TAG or len(values["note"] or "") > MAX_NOTE:
        raise LabelFault("bad_value", f"a tag or name of more than {MAX_TAG} characters, or a note of {MAX_NOTE}")
    if problem := vocabulary.fault(tagger, tag):
        raise LabelFault("unknown_tag", problem)
    return NewLabel(
        upload_id=str(values["upload_id"]),
        tagger=tagger,
        tag=tag,
        decision=values["decision"],  # type: ignore[arg-type]  # one of DECISIONS
        by=decider,
        at=_moment(values["at"]),
        taxonomy=values["taxonomy"] or vocabulary.versions[tagger],
        note=values["note"],
        value=value,
    )


def _amount(given: Any, rated: bool) -> float | None:
    """What a person gave, in 0 to 1."""
    if given is None or given == "":
        if rated:
            raise LabelFault("missing", "without value: how much? 0 to 1, or stars as 4/5")
        return None
    if not rated:
        raise LabelFault("bad_value", "a value belongs to a decision `rate` alone")
    value: float | None = None
    if isinstance(given, str):
        if stars := STARS.fullmatch(given.strip()):
            value = (float(stars[1]) - 1) / 4
        else:
            with suppress(ValueError):
                value = float(given)
    elif isinstance(given, int | float) and not isinstance(given, bool):
        value = float(given)
    if value is None or not 0.0 <= value <= 1.0:
        raise LabelFault("bad_value", f"value {given!r} is neither 0 to 1 nor stars as 4/5")
    return value


def _text(record: dict[str, Any], name: str) -> str | None:
    value = record.get(name)
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        raise LabelFault("bad_value", f"{name} is not a text")
    return value


def _moment(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise LabelFault("bad_value", f"at {text!r} is not an ISO 8601 time") from error
    if moment.tzinfo is None:
        raise LabelFault("bad_value", f"at {text!r} has no zone; write e.g. 2026-11-24T12:00:00+00:00")
    try:
        return moment.astimezone(UTC)
    except OverflowError as error:
        raise LabelFault("bad_value", f"at {text!r} is in no year") from error


def read(stream: TextIO, form: Format) -> Iterator[tuple[int, Any]]:
    """Line numbers and records; a record that cannot be read is a `LineError`."""
    if form == "csv":
        reader = csv.DictReader(stream, strict=True)
        unknown = sorted(set(reader.fieldnames or ()) - set(FIELDS))
        if unknown or not reader.fieldnames:
            yield 1, LineError(1, "bad_line", f"the header has {unknown or 'nothing'}; it may have {', '.join(FIELDS)}")
            return
        try:
            for row in reader:
                bad = None in row or None in row.values()
                fault = LineError(reader.line_num, "bad_line", "not as many values as the header has names")
                yield reader.line_num, fault if bad else row
        except csv.Error as error:
            at = reader.reader.line_num
            yield at, LineError(at, "bad_line", f"not CSV: {error}")
        return
    for number, line in enumerate(stream, 1):
        if line.strip():
            try:
                yield number, json.loads(line)
            except (ValueError, RecursionError) as error:
                yield number, LineError(number, "bad_line", f"not JSON: {error}")


def load(
    store: Store,
    records: Iterable[tuple[int, Any]],
    vocabulary: Vocabulary,
    by: str | None = None,
    dry_run: bool = False,
    skip_errors: bool = False,
    told: Callable[[int, int], object] = lambda done, total: None,
) -> Import:
    """Import labels. Nothing is written if a line is wrong, unless `skip_errors`: then the others are.

    Args:
        store: where to.
        records: as `read` gives them.
        vocabulary: the tags that may be named.
        by: who decided, where a line does not say.
        dry_run: count, and write nothing.
        skip_errors: see above.
        told: called with labels done and to do.
    """
    result = Import()
    labels: list[tuple[int, NewLabel]] = []
    for number, record in records:
        result.lines += 1
        if isinstance(record, LineError):
            result.errors.append(record)
            continue
        try:
            labels.append((number, parse(record, vocabulary, by)))
        except LabelFault as fault:
            result.errors.append(LineError(number, fault.fault, str(fault)))
    labels = _of_known_uploads(store, labels, result)
    result.errors.sort(key=lambda error: error.line)
    if result.errors and not skip_errors:
        return result
    by_upload: dict[str, list[NewLabel]] = {}
    for _, label in labels:
        by_upload.setdefault(label.upload_id, []).append(label)
    done = 0
    for upload_id, its in by_upload.items():
        labelled = store.label(upload_id, its, dry_run)
        if isinstance(labelled, UnknownUpload):  # uploads are never removed
            raise RuntimeError(f"upload {upload_id} is gone")
        result.written += sum(labelled.written)
        result.known += len(its) - sum(labelled.written)
        result.changed += labelled.changed
        done += len(its)
        told(done, len(labels))
    result.applied = not dry_run
    return result


def _of_known_uploads(store: Store, labels: list[tuple[int, NewLabel]], result: Import) -> list[tuple[int, NewLabel]]:
    ids = list(dict.fromkeys(label.upload_id for _, label in labels))
    unknown: set[str] = set()
    for at in range(0, len(ids), CHECKED_AT_ONCE):
        unknown |= store.unknown_uploads(ids[at : at + CHECKED_AT_ONCE])
    for number, label in labels:
        if label.upload_id in unknown:
            result.errors.append(
                LineError(number, "unknown_upload", f"upload {label.upload_id!r} was never sent to this farm")
            )
    return [(number, label) for number, label in labels if label.upload_id not in unknown]


def record_of(row: LabelRow) -> dict[str, Any]:
    """A label as files have it."""
    kept = asdict(row)
    return {name: kept[name].isoformat() if name == "at" else kept[name] for name in FIELDS}


def write(rows: Iterable[LabelRow], stream: TextIO, form: Format) -> int:
    """Write labels, and return how many."""
    count = 0
    if form == "csv":
        table = csv.DictWriter(stream, FIELDS, lineterminator="\n")
        table.writeheader()
    for count, row in enumerate(rows, 1):  # noqa: B007
        if form == "csv":
            table.writerow(record_of(row))
        else:
            stream.write(json.dumps(record_of(row), ensure_ascii=False, separators=(",", ":")) + "\n")
    return count


def form_of(name: str) -> Format | None:
    """The format that a file's name says."""
    found = re.search(r"\.(jsonl|ndjson|csv)$", name.lower())
    return None if found is None else ("csv" if found[1] == "csv" else "jsonl")
