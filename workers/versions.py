"""Which trained versions this node runs: asks the store for the aliases, loads what they name, swaps the line-up."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from models.protocol import Encoder, Tagger
from models.registry.taggers import build_tagger, own_encoders
from models.registry.versions import Registry, Version, VersionCorrupt, VersionError, VersionIncompatible, read_key
from store.store import AliasState, Store
from tasks.lineup import Lineup, LineupSwitch
from workers.settings import Settings

log = logging.getLogger(__name__)


def open_registry(settings: Settings, create_key: bool = False) -> Registry:
    """The registry of this machine's settings. `create_key`: make a key of its own if there is none yet."""
    key = settings.models.signing_key
    secret = key.get_secret_value().encode() if key is not None else read_key(settings.signing_key_file, create_key)
    return Registry(settings.registry, secret)


def load_version(registry: Registry, tagger: str, number: int, digest: str | None = None) -> Version:
    """A version. Raises `VersionError`; `VersionCorrupt` also when it is not the one that was promoted."""
    version = registry.version(tagger, number)
    if digest is not None and version.digest != digest:
        raise VersionCorrupt(f"{version.name} in {registry.root} is not the one that was promoted")
    return version


def in_force(
    settings: Settings,
    store: Store,
    encoders: Mapping[str, Encoder],
    taggers: Sequence[Tagger],
    absent: Mapping[str, str],
) -> tuple[list[Tagger], dict[str, str], dict[str, str]]:
    """The taggers with the champions in their places; those that cannot speak; challengers' versions by tagger.

    For work outside of a node. Challengers and shadows do not speak in it: a re-tag says what the champions say.
    """
    switch = LineupSwitch()
    VersionKeeper(open_registry(settings), store.aliases, switch, encoders).follow()
    speakers = replace(switch.current, challengers={}, shadows={}).speakers("", taggers, absent)
    challengers = {name: tagger.version for name, (tagger, _) in switch.current.challengers.items()}
    return list(speakers.taggers), dict(speakers.absent), challengers


def check_version(settings: Settings, version: Version) -> str:
    """Build a version as a node would, and let go of it. Returns what documents will name it.

    Raises:
        VersionError: it cannot be run.
        WeightsMissing: it has an encoder of its own, and the packaged one that it stands on is not installed.
    """
    if version.own_encoder is None:
        return build_tagger(version).version
    import torch

    from models.topics.efficientnet import PictureEncoder

    base = PictureEncoder(settings.models.weights, device=torch.device("cpu"))
    try:
        return build_tagger(version, {base.name: base}).version
    finally:
        base.close()


class VersionKeeper:
    """Keeps a node's line-up what the aliases say.

    Args:
        registry: where versions lie.
        aliases: asks the store.
        switch: the node's.
        encoders: that the node has, by name; a version that needs another, and brings none, cannot run here.
    """

    def __init__(
        self,
        registry: Registry,
        aliases: Callable[[], list[AliasState]],
        switch: LineupSwitch,
        encoders: Mapping[str, Encoder],
    ) -> None:
        self._registry = registry
        self._aliases = aliases
        self._switch = switch
        self._encoders = dict(encoders)
        self._lock = threading.Lock()
        self._begun = False
        self._followed: list[AliasState] = []
        self._loaded: dict[tuple[str, int, str | None], Tagger] = {}
        self.failed: dict[str, str] = {}
        """Aliases that could not be followed, and why: `topics champion` to a sentence."""

    def follow(self) -> bool:
        """One round: whether the line-up was replaced. Versions that are in use already are not loaded again."""
        with self._lock:
            known = self._aliases()
            states = [state for state in known if state.number is not None]
            failed: dict[str, str] = {}
            lineup = self._lineup(states, max((state.change_id for state in known), default=0), failed)
            self.failed = failed
            self._begun = True
            if lineup == self._switch.current:
                return False
            self._switch.current = lineup
            self._followed = states
            self.announce()
            return True

    def announce(self) -> None:
        """Write into the log which versions are in force."""
        for state in self._followed:
            log.info("%s of %s is version %s", state.alias, state.tagger, state.number)

    def _lineup(self, states: list[AliasState], change_id: int, failed: dict[str, str]) -> Lineup:
        before = self._switch.current
        champions: dict[str, Tagger] = {}
        broken: dict[str, str] = {}
        beside: dict[str, dict[str, tuple[Tagger, float]]] = {"challenger": {}, "shadow": {}}
        used = set()
        for state in states:
            assert state.number is not None
            key = (state.tagger, state.number, state.digest)
            try:
                tagger = self._load(key)
            except (VersionError, OSError) as error:
                name = f"{state.tagger} {state.alias}"
                failed[name] = str(error)
                log.error("%s cannot be followed: %s", name, error)
                if state.alias != "champion":
                    continue
                # What spoke so far goes on; a node that has just begun has nothing that would be right.
                if state.tagger in before.champions:
                    champions[state.tagger] = before.champions[state.tagger]
                elif not self._begun or state.tagger in before.broken:
                    broken[state.tagger] = f"version {state.number} cannot be loaded: {error}"
                continue
            used.add(key)
            if state.alias == "champion":
                champions[state.tagger] = tagger
            else:
                beside[state.alias][state.tagger] = (tagger, state.share)
        self._loaded = {key: tagger for key, tagger in self._loaded.items() if key in used}
        return Lineup(champions, beside["challenger"], beside["shadow"], broken, change_id)

    def _load(self, key: tuple[str, int, str | None]) -> Tagger:
        if key not in self._loaded:
            tagger = build_tagger(load_version(self._registry, *key), self._encoders)
            here = {**self._encoders, **own_encoders(tagger)}
            if lacking := [name for name in tagger.encoders if name not in here]:
                raise VersionIncompatible(
                    f"{key[0]}/{key[1]} needs the encoder {lacking[0]!r}, which this node has not"
                )
            self._loaded[key] = tagger
        return self._loaded[key]
