"""What a process that tags builds once: decoders, networks on the device, heads."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import torch

from media.fetch import FetchedMedia, fetch
from media.fetch_policy import FetchPolicy
from media.pool import DecoderPool
from media.types import Limits, ObserverFactory
from models.faces.blazeface import FacesEncoder
from models.faces.tagger import PeopleTagger
from models.layout.editing import EditingTagger
from models.layout.tagger import LayoutTagger
from models.objects.yolox import ObjectsEncoder
from models.protocol import Encoder, Tagger, WeightsMissing, optional_encoders
from models.quality.picture import PictureMeasures
from models.quality.sound import SoundMeasures
from models.quality.tagger import QualityTagger
from models.safety.open_nsfw import SafetyEncoder, SafetyTagger
from models.serving.device import choose_device
from models.soundid.fingerprint import FingerprintObserver
from models.sounds.key import KeyObserver
from models.sounds.music import MusicTagger
from models.sounds.silero import SpeechEncoder
from models.sounds.tempo import TempoObserver
from models.sounds.yamnet import SoundEncoder
from models.text.rapid import TextEncoder, TextReaderMissing
from models.text.tagger import TextTagger
from models.topics.efficientnet import PictureEncoder
from models.topics.hub import HubUnavailable
from models.topics.tagger import TopicsTagger
from models.topics.zeroshot_labels import Labels, load_labels
from tasks.pipeline import SOUNDID, Parts
from tasks.sound_library import SOUNDID_VERSION
from workers import hearing
from workers.settings import Settings

log = logging.getLogger(__name__)

OBSERVERS = (PictureMeasures, SoundMeasures, TempoObserver, KeyObserver, FingerprintObserver)
NOT_RUN = "this node does not run it: see TAGFARM_MODELS__TAGGERS"
TAGGERS: tuple[Callable[[], Tagger], ...] = (
    TopicsTagger,
    MusicTagger,
    LayoutTagger,
    QualityTagger,
    PeopleTagger,
    TextTagger,
    SafetyTagger,
    EditingTagger,
)
"""Those without a setting; `workers.hearing` makes the others."""


@dataclass(frozen=True)
class Models:
    """Encoders by name, the taggers that can run, and those that cannot, with the reason."""

    encoders: dict[str, Encoder]
    taggers: list[Tagger]
    absent: dict[str, str]
    off: dict[str, str] = field(default_factory=dict)
    """Taggers that this node does not run by its settings, or for want of an extra; missed only where asked by name."""

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
        "objects": lambda: ObjectsEncoder(weights, device=device, max_batch=batch, max_wait_s=wait_s),
        "faces": lambda: FacesEncoder(weights, device=device, max_batch=batch, max_wait_s=wait_s),
        "safety": lambda: SafetyEncoder(weights, device=device, max_batch=batch, max_wait_s=wait_s),
        "text": TextEncoder,
    }
    labels = None
    if models.zeroshot_labels is not None:
        labels = load_labels(models.zeroshot_labels.expanduser())
        factories["zeroshot"] = lambda: zero_shot(settings, labels, device)
    made = [factory() for factory in TAGGERS if factory is not TopicsTagger]
    made = [TopicsTagger(labels=labels), *made, *hearing.taggers(models)]
    off = {one.name: NOT_RUN for one in made if models.taggers is not None and one.name not in models.taggers}
    running = [tagger for tagger in made if tagger.name not in off]
    wanted = {name for tagger in running for name in (*tagger.encoders, *optional_encoders(tagger))}
    encoders: dict[str, Encoder] = {}
    missing: dict[str, str] = {}
    absent: dict[str, str] = {}
    for name, factory in factories.items():
        if name not in wanted:
            continue
        try:
            encoders[name] = factory()
        except TextReaderMissing as error:
            off[name] = str(error)
        except HubUnavailable as error:
            # Topics speak without it; the document says that somebody could not.
            log.warning("encoder %s is absent: %s", name, error)
            absent[name] = str(error)
        except WeightsMissing as error:
            log.warning("encoder %s is absent: %s", name, error)
            missing[name] = str(error)
    taggers: list[Tagger] = []
    for tagger in running:
        if tagger.name in off:
            continue
        lost = [name for name in tagger.encoders if name in missing]
        if lost:
            absent[tagger.name] = missing[lost[0]]
        else:
            taggers.append(tagger)
    if models.taggers is not None and SOUNDID not in models.taggers:
        off[SOUNDID] = NOT_RUN
    return Models(encoders, taggers, absent, off)


def zero_shot(settings: Settings, labels: Labels, device: torch.device) -> Encoder:
    """The encoder of zero-shot labels. Its library is loaded only where there are labels."""
    from models.topics.zeroshot import ZeroShotEncoder

    models = settings.models
    cache = settings.home / "zeroshot"
    wait_s = models.max_wait_ms / 1000
    return ZeroShotEncoder(models.zeroshot, labels, cache, device=device, max_batch=models.max_batch, max_wait_s=wait_s)


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
        off=models.off,
        scratch=scratch,
        soundid_version=SOUNDID_VERSION,
    )


def build_media(
    settings: Settings, scratch: Path, observers: Sequence[ObserverFactory] | None = None
) -> tuple[Callable[[str, Path], FetchedMedia], DecoderPool]:
    """What brings an upload's file here, and the started decoders; with other observers than all that there are."""
    watching = OBSERVERS if observers is None else observers
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
    return partial(_fetch, policy), DecoderPool(media.decoders, limits, watching, scratch)


def _fetch(policy: FetchPolicy, uri: str, folder: Path) -> FetchedMedia:
    return fetch(uri, folder, policy)
