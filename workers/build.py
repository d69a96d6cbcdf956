"""What a process that tags builds once: decoders, networks on the device, heads."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from media.fetch import FetchedMedia, fetch
from media.fetch_policy import FetchPolicy
from media.pool import DecoderPool
from media.types import Limits, ObserverFactory
from models.layout.tagger import LayoutTagger
from models.protocol import Encoder, Tagger, WeightsMissing
from models.quality.picture import PictureMeasures
from models.quality.sound import SoundMeasures
from models.quality.tagger import QualityTagger
from models.serving.device import choose_device
from models.soundid.fingerprint import FingerprintObserver
from models.sounds.key import KeyObserver
from models.sounds.music import MusicTagger
from models.sounds.silero import SpeechEncoder
from models.sounds.tempo import TempoObserver
from models.sounds.yamnet import SoundEncoder
from models.topics.efficientnet import PictureEncoder
from models.topics.tagger import TopicsTagger
from tasks.pipeline import Parts
from tasks.sound_library import SOUNDID_VERSION
from workers import hearing
from workers.settings import Settings

log = logging.getLogger(__name__)

OBSERVERS = (PictureMeasures, SoundMeasures, TempoObserver, KeyObserver, FingerprintObserver)
TAGGERS: tuple[Callable[[], Tagger], ...] = (
    TopicsTagger,
    MusicTagger,
    LayoutTagger,
    QualityTagger,
)
"""Those without a setting; `workers.hearing` makes the others."""


@dataclass(frozen=True)
class Models:
    """Encoders by name, the taggers that can run, and those that cannot, with the reason."""

    encoders: dict[str, Encoder]
    taggers: list[Tagger]
    absent: dict[str, str]

    def close(self) -> None:
        """End the networks' threads."""
        for encoder in self.encoders.values():
            encoder.close()


def build_models(settings: Settings) -> Models:
    """Load the networks and make the heads. What has no weights is named in `absent`, never just left out."""
    device = choose_device(settings.models.device)
    weights, models = settings.models.weights, settings.models
    batch, wait_s = models.max_batch, models.max_wait_ms / 1000
    factories: dict[str, Callable[[], Encoder]] = {
        "picture": lambda: PictureEncoder(weights, device=device, max_batch=batch, max_wait_s=wait_s),
        "yamnet": lambda: SoundEncoder(weights, device=device, max_batch=batch, max_wait_s=wait_s),
        **hearing.encoders(models, device),
        "silero": lambda: SpeechEncoder(weights, device=device),
    }
    encoders: dict[str, Encoder] = {}
    missing: dict[str, str] = {}
    for name, factory in factories.items():
        try:
            encoders[name] = factory()
        except WeightsMissing as error:
            log.warning("encoder %s is absent: %s", name, error)
            missing[name] = str(error)
    taggers: list[Tagger] = []
    absent: dict[str, str] = {}
    for tagger in (*(make() for make in TAGGERS), *hearing.taggers(models)):
        lost = [name for name in tagger.encoders if name in missing]
        if lost:
            absent[tagger.name] = missing[lost[0]]
        else:
            taggers.append(tagger)
    return Models(encoders, taggers, absent)


def build_parts(settings: Settings, scratch: Path) -> Parts:
    """Load the networks and start the decoders."""
    models = build_models(settings)
    fetch_media, decoder = build_media(settings, scratch)
    return Parts(
        fetch=fetch_media,
        decoder=decoder,
        encoders=models.encoders,
        taggers=models.taggers,
        absent=models.absent,
        scratch=scratch,
        soundid_version=SOUNDID_VERSION,
    )


def build_media(
    settings: Settings, scratch: Path, observers: Sequence[ObserverFactory] = OBSERVERS
) -> tuple[Callable[[str, Path], FetchedMedia], DecoderPool]:
    """What brings an upload's file here, and the started decoders."""
    media = settings.media
    limits = Limits(max_bytes=media.max_bytes, max_duration_s=media.max_duration_s, deadline_s=media.decode_deadline_s)
    policy = FetchPolicy(
        file_roots=tuple(media.roots),
        object_roots=tuple(media.object_roots),
        object_options=media.object_options,
        allow_private=media.allow_private_hosts,
        max_bytes=media.max_bytes,
        deadline_s=media.fetch_deadline_s,
    )
    return partial(_fetch, policy), DecoderPool(media.decoders, limits, observers, scratch)


def _fetch(policy: FetchPolicy, uri: str, folder: Path) -> FetchedMedia:
    return fetch(uri, folder, policy)
