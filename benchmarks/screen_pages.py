"""Pages of made-up apps as Chromium draws them: what screens are recorded of.

Words are the corpus's descriptions in eleven languages, pictures its photos, code this project's. An app that scrolls
is one long page with fixed bars; another is a row of states.
"""

from __future__ import annotations

import base64
import html
import random
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from .clips import read_photo
from .corpus import CorpusError
from .layout_sources import Frame
from .truths import photos
from .voices_corpus import descriptions

CHROMIUM = "chromium"
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update",
)  # fmt: skip
LANGUAGES = ("en", "it", "de", "fr", "es", "ru", "el", "pl", "pt", "sv", "tr")
PHONE, DESK = (390, 844), (1280, 720)
BAR = 56
"""Height of a page's fixed bars, px."""
SCREENS = 4
"""Height of a page that scrolls, in screens."""
STATES = 6
CODE = sorted((Path(__file__).parent.parent / "models").rglob("*.py"))

STYLE = """<style>*{box-sizing:border-box}body{margin:0;background:%(ground)s;color:%(ink)s;font:%(size)spx/1.4
%(font)s}
header,footer{position:fixed;left:0;right:0;height:56px;background:%(card)s;border:1px solid %(line)s;display:flex;
align-items:center;justify-content:space-around}header{top:0}footer{bottom:0}main{padding:64px 0}
.card{background:%(card)s;border:1px solid %(line)s;margin:8px;padding:10px;border-radius:8px}
.b{background:%(accent)s;color:#fff;padding:4px 12px;border-radius:14px}img{width:100%%;display:block}
.who{width:36px;height:36px;border-radius:50%%;background:%(accent)s;display:inline-block}
.row{display:flex;justify-content:space-between;padding:14px 16px;border-bottom:1px solid %(line)s}
td{border:1px solid %(line)s;padding:4px 8px}pre{margin:0;font:13px/17px monospace}</style>"""


class Page:
    """Draws what a page is made of; the same for the same seed."""

    def __init__(self, seed: str) -> None:
        self.rng = rng = random.Random(seed)
        dark = rng.random() < 0.35
        self.theme = {
            "ground": "#121418" if dark else rng.choice(["#fff", "#f5f6f8", "#faf8f4"]),
            "ink": "#e8e8ea" if dark else "#16181c",
            "card": "#1d2026" if dark else "#fff",
            "line": "#30343c" if dark else "#dde0e5",
            "accent": f"hsl({rng.randrange(360)},{rng.randrange(40, 90)}%,{rng.randrange(35, 60)}%)",
            "size": str(rng.choice([14, 15, 16, 17])),
            "font": rng.choice(["sans-serif", "serif", "DejaVu Sans", "Liberation Sans, Arial"]),
        }
        self.said = descriptions("dev")[rng.choice(LANGUAGES)]

    def words(self, letters: int) -> str:
        """At least so many letters of text."""
        text = ""
        while len(text) < letters:
            text += f" {self.rng.choice(self.said)}"
        return html.escape(text.strip())

    def title(self) -> str:
        """A few words."""
        return self.words(12)[:18]

    def photo(self, width: int, height: int) -> str:
        """A photo's address."""
        picture = read_photo(self.rng.choice(photos().items).path)
        scale = max(width / picture.shape[1], height / picture.shape[0])
        size = max(width, round(picture.shape[1] * scale)), max(height, round(picture.shape[0] * scale))
        cut = cv2.cvtColor(cv2.resize(picture, size)[:height, :width], cv2.COLOR_RGB2BGR)
        return "data:image/jpeg;base64," + base64.b64encode(cv2.imencode(".jpg", cut)[1].tobytes()).decode()


def feed(page: Page) -> list[str]:
    """Posts with photos."""
    posts = ""
    for _ in range(8):
        picture = f'<img src="{page.photo(360, page.rng.choice([200, 260, 360]))}">' if page.rng.random() < 0.7 else ""
        posts += (
            f"<div class=card><span class=who></span> <b>{page.title()}</b><p>{page.words(page.rng.randrange(20, 160))}"
            f"</p>{picture}<p><span class=b>{page.title()[:8]}</span> {page.rng.randrange(999)}</p></div>"
        )
    tabs = "<footer><span>⌂</span><span>⌕</span><span class=b>✚</span><span>♡</span><span>☰</span></footer>"
    return [f"<header><b>{page.title()}</b><span class=b>+</span></header><main>{posts}</main>{tabs}"]


def article(page: Page) -> list[str]:
    """Long paragraphs, now and then a title or a photo."""
    parts = f"<h2>{page.words(40)}</h2><img src='{page.photo(360, 220)}'>"
    for _ in range(14):
        parts += f"<p>{page.words(page.rng.randrange(160, 420))}</p>"
        parts += f"<h3>{page.words(20)}</h3>" if page.rng.random() < 0.3 else ""
    return [f"<main style='padding:20px'>{parts}</main>"]


def settings(page: Page) -> list[str]:
    """Lines with switches."""
    rows = "".join(
        f"<div class=row><span>{page.words(10)[:26]}</span><span class=b>{page.rng.choice('●○›')}</span></div>"
        for _ in range(64)
    )
    return [f"<header><span>‹</span><b>{page.title()}</b><span>⋮</span></header><main>{rows}</main>"]


def gallery(page: Page) -> list[str]:
    """A grid of photos."""
    grid = "".join(f'<img style="width:32%;margin:.5%" src="{page.photo(126, 126)}">' for _ in range(78))
    return [
        f"<header><b>{page.title()}</b><span class=b>{page.title()[:8]}</span></header><main style='display:flex;"
        f"flex-wrap:wrap'>{grid}</main><footer><span>▦</span><span>♡</span><span>⚙</span></footer>"
    ]


def mail(page: Page) -> list[str]:
    """Senders, subjects, first words."""
    rows = "".join(
        f"<div class=row style='justify-content:flex-start;gap:12px'><span class=who></span><span><b>{page.title()}</b>"
        f"<br>{page.words(24)[:44]}<br><small>{page.words(40)[:60]}</small></span></div>"
        for _ in range(40)
    )
    return [f"<header><span>☰</span><b>{page.title()}</b><span>⌕</span></header><main>{rows}</main>"]


def chat(page: Page) -> list[str]:
    """Messages that come one by one."""
    theme, bubbles = page.theme, []
    for _ in range(12):
        mine = page.rng.random() < 0.5
        colours = f"background:{theme['accent']};color:#fff" if mine else f"background:{theme['card']}"
        bubbles.append(
            f"<div style='text-align:{'right' if mine else 'left'};margin:8px'><span style='display:inline-block;"
            f"max-width:75%;text-align:left;padding:8px 12px;border-radius:14px;{colours}'>"
            f"{page.words(page.rng.randrange(8, 90))}</span></div>"
        )
    head = f"<header><span class=who></span><b>{page.title()}</b></header><footer>…</footer>"
    return [
        f"{head}<main style='position:absolute;bottom:0;left:0;right:0'>{''.join(bubbles[:shown])}</main>"
        for shown in range(len(bubbles) - STATES + 1, len(bubbles) + 1)
    ]


def editor(page: Page) -> list[str]:
    """Code that is typed."""
    lines = page.rng.choice([file for file in CODE if file.stat().st_size > 2500]).read_text().splitlines()[:60]
    first = page.rng.randrange(0, max(1, len(lines) - 36))
    lines = [html.escape(line) or " " for line in lines[first : first + 36]]
    files = "".join(f"<div>{file.name}</div>" for file in CODE[:26])
    left = f"width:170px;padding:8px;border-right:1px solid {page.theme['line']};background:{page.theme['card']}"
    return [
        f"<div style='display:flex;height:100vh'><div style='{left}'>{files}</div><pre style='padding:8px'>"
        f"{chr(10).join(lines[: len(lines) - STATES + shown])}<span style='background:{page.theme['accent']}'> </span>"
        "</pre></div>"
        for shown in range(STATES)
    ]


def terminal(page: Page) -> list[str]:
    """Lines that a program writes."""
    lines = [f"[{page.rng.random() * 99:8.4f}] {page.words(30)[: page.rng.randrange(20, 90)]}" for _ in range(48)]
    return [
        "<body style='background:#111;color:#ddd'><pre style='position:absolute;bottom:8px;left:8px;color:#ddd'>"
        f"{chr(10).join(lines[: 30 + shown * page.rng.randrange(1, 4)])}\n$ <span class=b> </span></pre>"
        for shown in range(STATES)
    ]


def table(page: Page) -> list[str]:
    """A sheet in which a field is chosen."""
    rows = [[page.title()[:12], *(f"{page.rng.random() * 1000:.2f}" for _ in range(7))] for _ in range(26)]
    states = []
    for shown in range(STATES):
        cells = ""
        for row, values in enumerate(rows):
            cells += "<tr>"
            for column, value in enumerate(values):
                chosen = (row, column) == (3 + 3 * shown, 1 + shown)
                cells += f"<td style='outline:{2 * chosen}px solid {page.theme['accent']}'>{value}</td>"
        states.append(
            f"<div style='padding:6px'>File Edit View Insert Format <span class=b>Σ</span></div>"
            f"<table style='border-collapse:collapse;font-size:13px'>{cells}</table>"
        )
    return states


def desktop(page: Page) -> list[str]:
    """Windows before a photo."""
    windows = ""
    for _ in range(page.rng.randrange(2, 4)):
        left, top = page.rng.randrange(600), page.rng.randrange(20, 260)
        wide, high = page.rng.randrange(420, 660), page.rng.randrange(260, 420)
        windows += (
            f"<div style='position:absolute;left:{left}px;top:{top}px;width:{wide}px;height:{high}px;overflow:hidden;"
            f"background:{page.theme['card']};border:1px solid #555'><div style='background:{page.theme['accent']};"
            f"color:#fff;padding:5px 10px'>{page.title()}</div><div style='padding:10px'>{page.words(900)}</div></div>"
        )
    wall = f"<div style='position:absolute;inset:0;background:url({page.photo(*DESK)});background-size:cover'></div>"
    return [f"{wall}{windows}<footer style='height:40px'>☰ <span class=b>{page.title()}</span></footer>"]


@dataclass(frozen=True)
class App:
    """How a page is drawn and looked at."""

    draw: Callable[[Page], list[str]]
    sizes: tuple[tuple[int, int], ...]
    scrolls: bool = False
    above: int = 0
    """Height of the bar that stands above what scrolls, px."""
    below: int = 0


APPS = {
    "feed": App(feed, (PHONE,), True, BAR, BAR),
    "article": App(article, (PHONE, DESK), True),
    "settings": App(settings, (PHONE,), True, BAR),
    "gallery": App(gallery, (PHONE,), True, BAR, BAR),
    "mail": App(mail, (PHONE,), True, BAR),
    "chat": App(chat, (PHONE,)),
    "editor": App(editor, (DESK,)),
    "terminal": App(terminal, (DESK,)),
    "table": App(table, (DESK,)),
    "desktop": App(desktop, (DESK,)),
}


def screenshots(app: App, seed: str) -> tuple[list[Frame], tuple[int, int]]:
    """What Chromium shows of an app's states, RGB, and the screen's width and height.

    Raises:
        CorpusError: Chromium is not there, or drew nothing.
    """
    if shutil.which(CHROMIUM) is None:
        raise CorpusError(CHROMIUM, "not installed; on Debian: apt-get install chromium")
    page = Page(seed)
    width, height = page.rng.choice(app.sizes)
    style = STYLE % page.theme
    high = height * (SCREENS if app.scrolls else 1)
    return [_drawn(style + body, width, high) for body in app.draw(page)], (width, height)


def _drawn(body: str, width: int, height: int) -> Frame:
    with tempfile.TemporaryDirectory(prefix="tagfarm-benchmark-") as folder:
        page, picture = Path(folder) / "page.html", Path(folder) / "page.png"
        page.write_text(f"<!doctype html><meta charset=utf-8>{body}", encoding="utf-8")
        size = f"--window-size={width},{height}"
        command = [CHROMIUM, *FLAGS, f"--user-data-dir={folder}/user", size, f"--screenshot={picture}", page.as_uri()]
        done = subprocess.run(command, capture_output=True, check=False, timeout=120)
        drawn = cv2.imread(str(picture)) if picture.is_file() else None
        if drawn is None:
            raise CorpusError(CHROMIUM, f"drew nothing: {done.stderr.decode(errors='replace').strip()[-200:]}")
        return np.ascontiguousarray(drawn[:, :, ::-1])
