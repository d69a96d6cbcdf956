"""The published contract: `TagUpload` in, `TagDocument` out.

Other people's programs read these names, so a name is never changed or removed: fields are added, and `schema` is
raised when a reader must know. Unknown fields are tolerated on the way in (an upload service may be newer than the
farm) and never sent out. `tagfarm schema` writes both as JSON Schema into `docs/contract/`.

Schema history: 1 - first version.
"""

from __future__ import annotations

import hashlib
import re
from datetime import datetime
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator

SCHEMA = 1
TASK = "tagfarm.tag_upload"
SWEEP_TASK = "tagfarm.sweep"
QUEUE = "uploads"
BACKFILL_QUEUE = "backfill"
MAX_CAPTION = 10_000
MAX_HASHTAGS = 200

Outcome = Literal["ok", "degraded", "unsupported", "corrupt", "too_large", "timeout", "quarantined"]
TaggerName = Literal[
    "topics", "events", "music", "speech", "soundid", "layout", "quality", "people", "text", "safety", "editing"
]
TAGGERS: tuple[TaggerName, ...] = get_args(TaggerName)

Score = Annotated[float, Field(ge=0.0, le=1.0)]
Box = Annotated[
    tuple[Score, Score, Score, Score], Field(description="Left, top, right, bottom, as shares of the frame.")
]
Range = Annotated[
    tuple[float, float],
    Field(description="Start and end in the upload, s.", json_schema_extra={"examples": [[0.0, 4.5]]}),
]


_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
"""NUL and halves of characters (a caption cut in the middle of an emoji): no database and no UTF-8 can hold them."""


def _storable(value: Any) -> Any:
    return _UNSTORABLE.sub("", value) if isinstance(value, str) else value


Text = Annotated[str, BeforeValidator(_storable)]


class TagUpload(BaseModel):
    """One upload to be tagged: what the upload service enqueues."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    upload_id: Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[A-Za-z0-9][A-Za-z0-9._:@-]*$")]
    media: Annotated[Text, Field(min_length=1, max_length=4096, description="file://, https:// or s3:// URI.")]
    caption: Annotated[Text, Field(max_length=MAX_CAPTION)] = ""
    hashtags: Annotated[list[Text], Field(max_length=MAX_HASHTAGS)] = []
    language: Annotated[Text | None, Field(max_length=35, description="BCP 47, as the author set it.")] = None
    country: Annotated[Text | None, Field(max_length=2, description="ISO 3166-1 alpha-2.")] = None
    device: Annotated[Text | None, Field(max_length=200)] = None
    account_id: Annotated[Text | None, Field(max_length=200)] = None
    parent_upload_id: Annotated[
        Text | None, Field(max_length=200, description="The upload that this one duets with or stitches.")
    ] = None
    sound_id: Annotated[Text | None, Field(max_length=200, description="The sound that the author says is used.")] = (
        None
    )
    uploaded_at: datetime | None = None
    priority: Annotated[int, Field(ge=0, le=9, description="9 is most urgent.")] = 5
    taggers: Annotated[list[TaggerName] | None, Field(description="Which taggers to run; null: all.")] = None

    @field_validator("hashtags")
    @classmethod
    def _plain_hashtags(cls, value: list[str]) -> list[str]:
        """Without `#`, lower case, no empties, order kept."""
        plain = (re.sub(r"\s+", "", tag).lstrip("#").lower()[:100] for tag in value)
        return list(dict.fromkeys(tag for tag in plain if tag))

    def request_hash(self) -> str:
        """Sha256 of what can change the answer. The same upload_id with another hash is tagged anew."""
        body = self.model_dump_json(exclude={"priority", "uploaded_at"})
        return hashlib.sha256(body.encode()).hexdigest()

    def wants(self, tagger: str) -> bool:
        """Whether this tagger was asked for."""
        return self.taggers is None or tagger in self.taggers


class Strict(BaseModel):
    """A part of what the farm sends out: nothing in it that the contract does not name."""

    model_config = ConfigDict(extra="forbid")


class VideoInfo(Strict):
    """The video stream; width and height as displayed."""

    codec: str
    width: int
    height: int
    fps: float | None
    rotation: int


class AudioInfo(Strict):
    """The sound stream."""

    codec: str
    sample_rate: int
    channels: int


class MediaFacts(Strict):
    """What the file is."""

    sha256: str | None = None
    bytes: int | None = None
    container: str | None = None
    duration_s: float | None = None
    video: VideoInfo | None = None
    audio: AudioInfo | None = None


class Coverage(Strict):
    """How much of the upload was looked at."""

    frames_decoded: int = 0
    frames_embedded: int = 0
    audio_s: float = 0.0
    shots: int = 0


class Topic(Strict):
    """A topic of the published taxonomy."""

    topic: str
    score: Score
    ranges: list[Range] = []
    from_: Annotated[list[str], Field(alias="from", description="Which evidence spoke: picture, hashtag, ...")] = []

    model_config = ConfigDict(extra="forbid", populate_by_name=True)


class SoundUse(Strict):
    """A known sound heard in the upload."""

    sound_id: str
    kind: Literal["song", "effect", "original"]
    title: str | None = None
    score: Score
    range: Range
    offset_s: Annotated[float, Field(description="Where in the sound the range starts, s.")] = 0.0
    speed: float = 1.0
    pitch_semitones: float = 0.0


class Event(Strict):
    """A sound event, by AudioSet display name."""

    event: str
    score: Score
    ranges: list[Range] = []
    above: Annotated[list[str], Field(description="Classes that it implies, nearest first: an owl is a bird.")] = []
    implied: Annotated[bool, Field(description="Not heard itself: another event implies it.")] = False


class MusicTag(Strict):
    """A genre, mood or instrument."""

    tag: str
    score: Score


class Music(Strict):
    """What the music is like."""

    present: Score = 0.0
    tempo_bpm: float | None = None
    key: str | None = None
    vocals: Score | None = None
    tags: list[MusicTag] = []


class Speech(Strict):
    """How much of the sound is speech."""

    present: Score = 0.0
    ranges: list[Range] = []
    language: str | None = None
    transcript: str | None = None


class ReadText(Strict):
    """Text read in the picture."""

    text: str
    score: Score
    ranges: list[Range] = []
    box: Annotated[Box | None, Field(description="Where it was read best.")] = None


class Pane(Strict):
    """One picture of several."""

    box: Box
    topics: Annotated[list[Topic], Field(description="What is in this pane alone.")] = []


class Layout(Strict):
    """How the frame is divided."""

    kind: (
        Literal["single", "duet_left_right", "duet_up_down", "picture_in_picture", "slideshow", "screen_recording"]
        | None
    ) = None
    score: Score = 0.0
    panes: Annotated[list[Pane], Field(description="Of a picture in a picture the large one is first.")] = []
    bars: Annotated[
        Literal["letterbox", "pillarbox", "windowbox"] | None,
        Field(description="Plain or blurred bars above and below, left and right, or all around; null: none."),
    ] = None
    content: Annotated[Box | None, Field(description="Where the picture is, when there are bars.")] = None


class People(Strict):
    """Counts only; nobody is identified."""

    faces_max: int
    persons_max: int


class Editing(Strict):
    """How often the picture is cut."""

    shots: int
    cuts_per_minute: float
    shot_s_median: float
    shot_s_min: float


class Safety(Strict):
    """Scores for what must not be fed unasked."""

    nsfw: Score


class PictureQuality(Strict):
    """`score`, `sharpness`, `exposure`, `contrast`, `stability`: 1 is best; all but `detail_lines` (px): 0 is none."""

    score: Score
    sharpness: Score
    blockiness: Score
    noise: Score
    exposure: Score
    contrast: Score | None = None
    banding: Score | None = None
    detail_lines: int | None = None
    bars_share: Score | None = None
    stability: Score | None = None
    freeze_share: Score | None = None
    judder: Score | None = None
    flicker: Score | None = None


class SpeechOpinion(Strict):
    """How good speech sounds to people, as DNSMOS P.835 foretells it: opinion scores, 1 (bad) to 5 (excellent)."""

    signal: Annotated[float, Field(ge=1, le=5)]
    background: Annotated[float, Field(ge=1, le=5)]
    overall: Annotated[float, Field(ge=1, le=5)]


class SoundQuality(Strict):
    """`score`: 1 is best; `clipping_share` is an amount: 0 is none; `hum_db` of full scale; `dynamics_db`: kurtosis."""

    score: Score
    loudness_lufs: float | None = None
    loudness_range_lu: float | None = None
    true_peak_dbtp: float | None = None
    clipping_share: Score = 0.0
    bandwidth_hz: float | None = None
    snr_db: float | None = None
    clarity_db: float | None = None
    hum_db: float | None = None
    dropouts_per_s: float | None = None
    dynamics_db: float | None = None
    speech: SpeechOpinion | None = None


class Quality(Strict):
    """How good picture and sound are; 1 is best."""

    score: Score
    explanation: Annotated[list[str], Field(description="What lowers the scores, worst first.")] = []
    picture: PictureQuality | None = None
    sound: SoundQuality | None = None


class Diversity(Strict):
    """What the feed must not repeat; null: unknown."""

    topic: str | None = None
    sound: str | None = None


class TagDocument(Strict):
    """Everything the farm says of one upload."""

    schema_: Annotated[int, Field(alias="schema")] = SCHEMA
    upload_id: str
    outcome: Outcome
    reason: str | None = None
    media: MediaFacts = MediaFacts()
    coverage: Coverage = Coverage()
    topics: list[Topic] = []
    sounds: list[SoundUse] = []
    events: list[Event] = []
    music: Music | None = None
    speech: Speech | None = None
    text: list[ReadText] = []
    layout: Layout | None = None
    people: People | None = None
    safety: Safety | None = None
    editing: Editing | None = None
    quality: Quality | None = None
    diversity: Diversity = Diversity()
    models: Annotated[dict[str, str], Field(description="Tagger to `name@version`: who spoke.")] = {}
    absent: Annotated[dict[str, str], Field(description="Tagger to reason: who was asked and could not speak.")] = {}
    attempts: int = 1
    timings_ms: dict[str, int] = {}

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    def to_json(self) -> dict[str, Any]:
        """The document as plain JSON values, under its published names."""
        return self.model_dump(mode="json", by_alias=True)
