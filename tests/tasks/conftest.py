"""A store and its artifacts, filled as a node fills them, without files being decoded."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.protocol import Encoding, Evidence
from store.artifacts import ArtifactStore
from store.store import SoundUseRow, Started, Store
from tasks.artifacts import FORMAT
from tasks.contract import MediaFacts, TagDocument, Topic
from tasks.job import tag_rows
from tasks.kept import encoding_rows, evidence_arrays

PICTURE = "efficientnet-lite2@1"


class Shelf:
    """What a farm has kept. Embeddings are seeded by the upload's name, unless given."""

    def __init__(self, folder: Path, store: Store) -> None:
        self.store = store
        self.artifacts = ArtifactStore((folder / "artifacts").as_uri())

    def evidence(self, seed: str, encoder: str = PICTURE, rows: int = 6, **fields: Any) -> Evidence:
        random = np.random.default_rng(int(hashlib.sha256(seed.encode()).hexdigest()[:8], 16))
        embeddings = (random.random((rows, 1280)) ** 4).astype(np.float16).astype(np.float32)
        times = np.arange(rows) * 0.5
        encoding = Encoding(encoder, times, 0.5, embeddings, np.zeros((rows, 1000), np.float32))
        evidence = Evidence(
            duration_s=rows * 0.5,
            frames=np.zeros((0, 0, 0, 3), np.uint8),
            frame_times_s=times,
            shots=[(0.0, rows * 0.5)],
            waveform=np.zeros(0, np.float32),
            observations={"stillness": {"share": 0.1}},
            encodings={"picture": encoding},
        )
        return Evidence(**{**vars(evidence), **fields})

    def keep(
        self,
        upload_id: str,
        topics: tuple[str, ...] = (),
        seed: str | None = None,
        sha256: str | None = None,
        sounds: tuple[str, ...] = (),
        models: dict[str, str] | None = None,
        evidence: Evidence | None = None,
        document: dict[str, Any] | None = None,
        **request: Any,
    ) -> None:
        """Take an upload to its document."""
        request = {"upload_id": upload_id, "media": "file:///x", **request}
        admission = self.store.admit(upload_id, request, repr(request), owner="test", lease_s=60)
        assert isinstance(admission, Started), admission
        seen = evidence or self.evidence(seed or upload_id)
        arrays = {"format": np.array([FORMAT], np.int32), **evidence_arrays(seen, False)}
        arrays["keyframes/times_s"] = np.zeros(1, np.float32)
        arrays["keyframes/00"] = np.frombuffer(f"a picture of {upload_id}".encode(), np.uint8)
        address = self.artifacts.put(upload_id, admission.attempt_id, arrays)
        made = TagDocument.model_validate(
            {
                "upload_id": upload_id,
                "outcome": "ok",
                "media": MediaFacts(sha256=sha256 or f"sha-{upload_id}", duration_s=seen.duration_s),
                "topics": [Topic(topic=one, score=0.6, ranges=[(0.0, 1.0)], from_=["picture"]) for one in topics],
                "diversity": {"topic": topics[0] if topics else None},
                "models": models or {"topics": "old@1"},
                **(document or {}),
            }
        )
        uses = [SoundUseRow(sound, 1.0, 0.0, 3.0) for sound in sounds]
        with self.store.commit(admission.attempt_id) as transaction:
            transaction.finish(made.to_json(), tag_rows(made), uses, address, encoding_rows(seen))

    def original(self, name: str) -> str:
        """An original sound."""
        from store.sounds import insert_sound

        with self.store._database.write() as connection:
            now = self.store._database.now(connection)
            return insert_sound(
                connection, now, kind="original", title=name, duration_s=5.0, fingerprint=name.encode()
            )[0]


@pytest.fixture
def shelf(tmp_path: Path) -> Iterator[Shelf]:
    store = Store.open(f"sqlite:///{tmp_path / 'shelf.db'}")
    yield Shelf(tmp_path, store)
    store.close()
