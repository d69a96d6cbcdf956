"""A duet through the real pipeline: its panes, what is in each, and whose sound it carries."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from skimage import data

from scripts import clips
from tasks.contract import TagUpload
from tasks.pipeline import Analysis, Parts, analyse
from tasks.sound_library import SoundLibrary
from workers.build import build_parts
from workers.settings import Settings

SECONDS, FPS = 8, 12


def tune() -> np.ndarray:
    """Notes over a beat, stereo, as long as the clips."""
    random = np.random.default_rng(11)
    time_s = np.arange(SECONDS * clips.SOUND_RATE) / clips.SOUND_RATE
    heard = np.zeros_like(time_s)
    for at in np.arange(0, SECONDS, 0.2):
        here = (time_s >= at) & (time_s < at + 0.25)
        local = time_s[here] - at
        pitch = 200 * 2 ** (random.integers(0, 30) / 12)
        heard[here] += sum(np.sin(2 * np.pi * pitch * k * local) / k for k in range(1, 5)) * np.exp(-6 * local)
    return (0.2 * heard * np.ones((2, 1))).astype(np.float32)


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Parts]:
    settings = Settings(home=tmp_path_factory.mktemp("home"), _env_file=None)  # type: ignore[call-arg]
    settings.media.roots = [tmp_path_factory.getbasetemp()]
    settings.media.decoders = 1
    settings.models.taggers = ["topics", "layout", "soundid"]
    built = build_parts(settings, tmp_path_factory.mktemp("scratch"))
    yield built
    built.close()


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A parent with a tune, and another's duet with it, which carries the parent's sound, quieter and coded again."""
    folder = tmp_path_factory.mktemp("clips")
    count = SECONDS * FPS
    cat = list(clips.moved(data.cat(), 360, 480, count, seed=1))
    coffee = list(clips.moved(data.coffee(), 360, 480, count, seed=2))
    parent = clips.write(folder / "parent.mp4", cat, tune(), fps=FPS)
    beside = [np.concatenate(pair, axis=1) for pair in zip(cat, coffee, strict=True)]
    child = clips.write(folder / "duet.mp4", beside, 0.5 * clips.sound(parent), fps=FPS)
    return parent, child


@pytest.fixture(scope="module")
def duet(parts: Parts, files: tuple[Path, Path]) -> tuple[Analysis, Analysis]:
    """What is told of the parent and of the duet."""
    parent, child = files
    uploads = [
        TagUpload(upload_id="parent", media=parent.as_uri()),
        TagUpload(
            upload_id="duet", media=child.as_uri(), parent_upload_id="parent", caption="my dog", hashtags=["dog"]
        ),
    ]
    first, second = (analyse(upload, parts) for upload in uploads)
    return first, second


def test_each_pane_has_its_own_topics(duet: tuple[Analysis, Analysis]) -> None:
    layout = duet[1].document.layout
    assert layout is not None and layout.kind == "duet_left_right"
    left, right = layout.panes
    assert left.topics[0].topic == "animals/cat"
    assert right.topics and all("cat" not in topic.topic for topic in right.topics)
    # The author's words are about the upload, not about a pane.
    assert {source for pane in layout.panes for topic in pane.topics for source in topic.from_} == {"picture"}


def test_one_picture_has_no_panes(duet: tuple[Analysis, Analysis]) -> None:
    layout = duet[0].document.layout
    assert layout is not None and (layout.kind, layout.panes) == ("single", [])


def test_a_duet_that_carries_its_parents_sound_has_its_parents_sound_id(
    duet: tuple[Analysis, Analysis], tmp_path: Path
) -> None:
    parent, child = (analysis.fingerprint for analysis in duet)
    assert parent is not None and child is not None
    library = SoundLibrary(tmp_path / "index")
    assert library.match(child) == []
    library.index.update([(1, "s_parent", "original", None, parent)], [])
    assert [match.sound_id for match in library.match(child)] == ["s_parent"]


def test_a_node_runs_the_taggers_that_its_settings_name(parts: Parts, duet: tuple[Analysis, Analysis]) -> None:
    document = duet[0].document
    assert (set(document.models), document.absent) == ({"topics", "layout", "soundid"}, {})
    assert "picture" in parts.encoders
    assert not {"safety", "silero"} & set(parts.encoders)  # no tagger that runs here reads them


def test_who_asks_for_another_tagger_by_name_is_told(parts: Parts, files: tuple[Path, Path]) -> None:
    document = analyse(TagUpload(upload_id="u", media=files[0].as_uri(), taggers=["layout", "safety"]), parts).document
    assert document.outcome == "degraded" and set(document.models) == {"layout"}
    assert "TAGFARM_MODELS__TAGGERS" in document.absent["safety"]
