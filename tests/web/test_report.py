import re
from html.parser import HTMLParser

import cv2
import numpy as np

from tasks.contract import TagDocument
from web.report import render

HOSTILE = "<script>alert(1)</script>\"'&"


class Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("src", "href")]


def parsed(html: str) -> Page:
    page = Page()
    page.feed(html)
    return page


def document(**fields: object) -> dict:
    return TagDocument.model_validate({"upload_id": "u1", "outcome": "ok", **fields}).to_json()


def rich() -> dict:
    return document(
        media={"duration_s": 10.0, "video": {"codec": "h264", "width": 640, "height": 360, "fps": 24, "rotation": 0}},
        coverage={"frames_decoded": 240, "frames_embedded": 20, "audio_s": 10, "shots": 2},
        topics=[{"topic": "animals/cat", "score": 0.93, "ranges": [[0, 4.5]], "from": ["picture"]}],
        sounds=[{"sound_id": "s_1", "kind": "song", "title": HOSTILE, "score": 1, "range": [1.5, 9], "offset_s": 43.2}],
        events=[{"event": f"Event {i}", "score": 0.5, "ranges": [[i, i + 1]]} for i in range(9)],
        speech={"present": 0.2, "ranges": [[1, 3]]},
        layout={"kind": "duet_left_right", "score": 0.99},
        quality={
            "score": 0.7,
            "picture": {"score": 0.8, "sharpness": 0.9, "blockiness": 0.1, "noise": 0.1, "exposure": 0.6},
            "sound": {"score": 0.6, "loudness_lufs": -14.2, "true_peak_dbtp": -0.8},
        },
        models={"topics": "x@1"},
    )


def artifacts() -> dict[str, np.ndarray]:
    _, jpeg = cv2.imencode(".jpg", np.full((90, 160, 3), 128, np.uint8))
    return {
        "keyframes/times_s": np.array([1.0, 6.0]),
        "keyframes/00": jpeg.reshape(-1),
        "keyframes/01": jpeg.reshape(-1),
        "curves/sound/times_s": np.linspace(0, 10, 50),
        "curves/sound/momentary_lufs": np.r_[np.full(10, -np.inf), np.linspace(-60, -14, 40)],
        "curves/picture/times_s": np.linspace(0, 10, 20),
        "curves/picture/sharpness": np.full(20, np.nan),
    }


def test_the_page_stands_alone_and_runs_nothing() -> None:
    page = parsed(render(rich(), artifacts(), {"caption": HOSTILE, "hashtags": [HOSTILE]}))
    assert "script" not in page.tags
    assert all(link.startswith("data:image/jpeg;base64,") for link in page.links)
    assert page.tags.count("img") == 2


def test_what_came_from_outside_is_escaped() -> None:
    html = render(rich(), artifacts(), {"caption": HOSTILE})
    assert "<script>" not in html
    assert "&lt;script&gt;" in html


def test_bars_lie_where_the_tags_hold() -> None:
    html = render(rich(), artifacts())
    assert re.search(r'left:0\.00%;width:45\.00%;[^>]*title="animals/cat: 0\.0-4\.5 s"', html)
    assert re.search(r'left:15\.00%;width:75\.00%;[^>]*title="s_1: 1\.5-9\.0 s"', html)
    assert "and 1 more, in the document below" in html


def test_a_curve_without_a_number_is_not_drawn_and_silence_is_the_floor() -> None:
    html = render(rich(), artifacts())
    assert html.count("<path") == 1
    assert "nan" not in html.lower().replace("nano", "")
    assert "-54 to -14 LUFS" in html


def test_failures_and_still_pictures_have_a_page_too() -> None:
    assert "corrupt" in render(document(outcome="corrupt", reason="it broke off"))
    still = document(media={"duration_s": 0.0}, topics=[{"topic": "food", "score": 0.5, "ranges": []}])
    assert "width:100.00%" in render(still)
