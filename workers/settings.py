"""Every setting of the farm, in one place.

Read from `TAGFARM_*` variables (`__` for nesting: `TAGFARM_BROKER__URL`), and from `.env` beside the process. Nothing
below `workers` reads the environment: what a room needs is handed down.
"""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from tasks.contract import TaggerName

CPUS = os.cpu_count() or 1
DEFAULT_BROKER = "redis://127.0.0.1:6379/0"
BROKER_FILE = "broker.url"
"""Where, in `home`, a running embedded farm says how to reach its broker."""
SHORTEST_KEY = 16
"""Characters of a signing key."""
ENCODE_ALLOWANCE_S = 30.0
"""Time that networks, heads and commit may take on top of fetch and decode, s."""


class BrokerSettings(BaseModel):
    """The transport of jobs. Valkey or Redis (`redis://`), or RabbitMQ (`amqp://`)."""

    url: str = ""
    """Empty: the embedded farm that runs in `home`, if one does, or else a Valkey on this machine."""
    visibility_timeout_s: Annotated[int, Field(ge=30)] = 900
    """Valkey only: how long a message may stay unacknowledged before it is delivered again, s."""

    consumer_timeout_s: Annotated[int, Field(ge=30)] = 1800
    """RabbitMQ only: what `consumer_timeout` the server has, s (its own default is 1800): how long a message may stay
    unacknowledged before the server closes the node's channel."""

    @property
    def is_valkey(self) -> bool:
        """Whether the broker speaks Valkey's protocol (Redis does)."""
        return self.url.startswith(("redis://", "rediss://", "redis+socket://"))


class StoreSettings(BaseModel):
    """Where tags are kept."""

    url: str | None = None
    """SQLAlchemy URL, e.g. `postgresql+psycopg://user@host/tagfarm`; null: SQLite in `home`."""
    artifacts: str | None = None
    """Root of embeddings and key frames, an fsspec URL; null: a folder in `home`."""


class MediaSettings(BaseModel):
    """What may be read, and how much of it."""

    roots: list[Path] = []
    """Folders that `file://` URIs may point into. Empty: no local file is read."""
    object_roots: list[str] = []
    """Buckets, or folders in them, that `s3://` URIs may name: `["s3://uploads"]`. Empty: no object is read."""
    object_options: dict[str, dict[str, Any]] = {}
    """By scheme: options for its fsspec file system, e.g. `{"s3": {"endpoint_url": "https://..."}}`. Credentials are
    better left to the library's own ways (environment, instance role)."""
    allow_private_hosts: bool = False
    """Let https:// reach private addresses. For tests and closed networks only."""
    max_bytes: int = 2 * 1024**3
    max_duration_s: float = 4 * 3600.0
    fetch_deadline_s: float = 60.0
    decode_deadline_s: float = 120.0
    decoders: Annotated[int, Field(ge=1)] = CPUS
    """Sandboxed decoder processes."""
    scratch: Path | None = None
    """Scratch folder; null: in `home`."""


class ModelSettings(BaseModel):
    """Networks and where they run."""

    device: str = "auto"
    """auto, cpu, cuda or cuda:N."""
    weights: Path = Path("~/.cache/tagfarm/weights")
    taggers: list[TaggerName] | None = None
    """Which taggers run on this node, e.g. `["topics", "quality"]`; null: all. `text` also needs the extra
    `tagfarm[text]`. Uploads that ask for others by name are told that they do not run here."""
    zeroshot: str = "google/siglip2-base-patch16-224@75de2d55ec2d0b4efc50b3e9ad70dba96a7b2fa2"
    """Encoder of zero-shot labels: OWNER/NAME@COMMIT on the hub, or a folder. Of SigLIP's or CLIP's kind."""
    zeroshot_labels: Path | None = None
    """YAML file of zero-shot labels (docs/ml.md); null: none, and no model is loaded for them."""
    max_batch: Annotated[int, Field(ge=1)] = 32
    max_wait_ms: Annotated[float, Field(ge=0)] = 10.0
    """Longest that a micro-batch waits for company."""
    registry: Path | None = None
    """Trained versions, on a disk that every node reads; null: a folder in `home`."""
    signing_key: SecretStr | None = None
    """What versions are signed with, at least 16 characters, the same on every node; null: this machine's own, made in
    `home` by the first training."""
    language: Literal["auto", "on", "off"] = "auto"
    """Whether Whisper tells the language of speech. auto: where the extra `speech` and the weights `whisper-base` are
    installed (`tagfarm weights pull whisper-base`)."""
    speech_quality: Literal["auto", "on", "off"] = "auto"
    """Whether DNSMOS says how good speech sounds. auto: where the extra `speech` and the weights `dnsmos` are installed
    (`tagfarm weights pull dnsmos`)."""
    transcript: bool = False
    """Whether it writes down the words as well; about as dear again for each 30 s of speech."""
    sound_hub: str | None = None
    """A better network of sound events beside YAMNet: an Audio Spectrogram Transformer of a model hub or a folder,
    `MIT/ast-finetuned-audioset-10-10-0.4593@REVISION`. Needs the extra `hub`; null: none."""
    poll_s: Annotated[float, Field(gt=0)] = 3.0
    """How often a node asks which versions shall speak, s."""


class WorkerSettings(BaseModel):
    """One node."""

    concurrency: Annotated[int, Field(ge=1)] = CPUS * 2
    """Uploads in flight: twice the decoders, so that networks and decoders are both busy."""
    memory_reserve_bytes: Annotated[int, Field(ge=0)] = 512 << 20
    """No upload begins beside others while the machine, or the container, has less memory left than this."""
    recycle_memory_bytes: int | None = None
    """Resident memory of the node beyond which it ends softly, to be started anew; null: half of all there is."""
    stall_s: Annotated[float, Field(ge=10)] = 180.0
    """A node that takes no message for so long although some wait, and has none in work, ends softly, s."""
    lease_s: Annotated[float, Field(ge=1)] = 60.0
    """How long an upload stays a silent node's before another may take it, s. Renewed every third of it."""
    max_attempts: Annotated[int, Field(ge=1)] = 4
    """Attempts that may be lost before an upload is quarantined."""
    metrics_port: int | None = None
    """Port of the Prometheus endpoint; null: none."""
    grace_s: Annotated[int, Field(ge=0)] = 30
    """Time to finish what is in flight at a soft shutdown, s."""

    @property
    def threads(self) -> int:
        """Messages that the node holds: those in flight, and some to choose the next from."""
        return self.concurrency + max(1, self.concurrency // 2)


class FeedSettings(BaseModel):
    """The change feed's push."""

    stream: str | None = "tagfarm:feed"
    """Valkey stream that changes are pushed to; null: none."""
    stream_url: str | None = None
    """Where that stream lives; null: the broker, if it is a Valkey or Redis."""
    webhook_url: SecretStr | None = None
    """Where events are POSTed to, signed; null: nowhere."""
    webhook_secret: SecretStr | None = None
    """What they are signed with: `whsec_` and base64 (https://www.standardwebhooks.com), at least 24 bytes."""


class WebSettings(BaseModel):
    """The HTTP gateway."""

    host: str = "127.0.0.1"
    port: int = 8400
    token: SecretStr | None = None
    """Bearer token that may do everything; `tagfarm tokens` makes others. Without any the gateway only serves the
    loopback address."""
    max_body_bytes: Annotated[int, Field(ge=1024)] = 256 * 1024
    rate_per_s: Annotated[float, Field(gt=0)] = 50.0
    """Calls a second of one token, lastingly."""
    burst: Annotated[int, Field(ge=1)] = 100
    """Calls of one token at once."""


class SoundSettings(BaseModel):
    """Where the sound index is."""

    index: Literal["disk", "valkey"] = "disk"
    """disk: a copy on each machine, in `home`. valkey: one that all nodes share, for catalogues beyond one machine."""
    servers: list[SecretStr] = []
    """valkey only: URLs of the servers (`redis://`, Redis does as well). Their number and order are part of the index's
    shape: after a change, `tagfarm sounds rebuild`. Not the broker's: the index may fill a server's memory."""


class Settings(BaseSettings):
    """All of it."""

    model_config = SettingsConfigDict(env_prefix="TAGFARM_", env_nested_delimiter="__", env_file=".env", extra="ignore")

    home: Path = Path("~/.local/share/tagfarm")
    broker: BrokerSettings = BrokerSettings()
    store: StoreSettings = StoreSettings()
    media: MediaSettings = MediaSettings()
    models: ModelSettings = ModelSettings()
    worker: WorkerSettings = WorkerSettings()
    sounds: SoundSettings = SoundSettings()
    feed: FeedSettings = FeedSettings()
    web: WebSettings = WebSettings()
    celery: dict[str, Any] = {}
    """Further options for Celery by its lower-case names, as JSON. What would lose or double work is refused."""

    @model_validator(mode="after")
    def _expand(self) -> Settings:
        self.home = self.home.expanduser().absolute()
        self.models.weights = self.models.weights.expanduser().absolute()
        if not self.broker.url:
            running = self.home / BROKER_FILE
            self.broker.url = running.read_text().strip() if running.is_file() else DEFAULT_BROKER
        return self

    @model_validator(mode="after")
    def _signed(self) -> Settings:
        """Refuse a signing key that can be guessed."""
        key = self.models.signing_key
        if key is not None and len(key.get_secret_value()) < SHORTEST_KEY:
            raise ValueError(
                f"TAGFARM_MODELS__SIGNING_KEY has fewer than {SHORTEST_KEY} characters; make one with: "
                "openssl rand -hex 32"
            )
        return self

    @model_validator(mode="after")
    def _safe(self) -> Settings:
        """Refuse combinations that lose or double work, and say what to write instead."""
        if self.feed.webhook_url is not None and self.feed.webhook_secret is None:
            raise ValueError(
                "TAGFARM_FEED__WEBHOOK_URL is set without TAGFARM_FEED__WEBHOOK_SECRET: its receiver cannot tell who "
                'sends. Set one: "whsec_$(openssl rand -base64 32)".'
            )
        if self.broker.is_valkey and self.broker.visibility_timeout_s <= self.job_deadline_s:
            raise ValueError(
                f"TAGFARM_BROKER__VISIBILITY_TIMEOUT_S={self.broker.visibility_timeout_s} is not longer than the "
                f"longest job ({self.job_deadline_s:.0f} s): a job still running would be delivered again. "
                f"Set it to at least {self.job_deadline_s * 2:.0f}."
            )
        if self.sounds.index == "valkey" and not self.sounds.servers:
            raise ValueError(
                "TAGFARM_SOUNDS__INDEX=valkey needs servers: set TAGFARM_SOUNDS__SERVERS, "
                "e.g. '[\"redis://host:6379/1\"]'"
            )
        return self

    @property
    def job_deadline_s(self) -> float:
        """The longest that one attempt may take, s."""
        return self.media.fetch_deadline_s + self.media.decode_deadline_s + ENCODE_ALLOWANCE_S

    @property
    def store_url(self) -> str:
        """SQLAlchemy URL."""
        return self.store.url or f"sqlite:///{self.home / 'tagfarm.db'}"

    @property
    def artifacts_url(self) -> str:
        """Root of the artifacts."""
        return self.store.artifacts or (self.home / "artifacts").as_uri()

    @property
    def scratch(self) -> Path:
        """Scratch folder; emptied of its dead at a node's start."""
        return self.media.scratch or self.home / "scratch"

    @property
    def registry(self) -> Path:
        """Folder of trained versions."""
        return self.models.registry or self.home / "registry"

    @property
    def signing_key_file(self) -> Path:
        """Where this machine keeps a key of its own, if none is set."""
        return self.home / "signing.key"

    @property
    def index(self) -> Path | tuple[str, ...]:
        """Where the sound index is: a folder of this machine, or the servers that all nodes share."""
        if self.sounds.index == "disk":
            return self.home / "sound-index"
        return tuple(url.get_secret_value() for url in self.sounds.servers)

    @property
    def stream_url(self) -> str | None:
        """Where changes are pushed to, if anywhere."""
        if self.feed.stream is None:
            return None
        return self.feed.stream_url or (self.broker.url if self.broker.is_valkey else None)


@lru_cache(maxsize=1)
def settings() -> Settings:
    """This process's settings, read once."""
    return Settings()
