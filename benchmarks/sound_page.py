"""What the sound identity benchmark's page says: each figure against its bar, and the tables below."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from .recordings import TRACK_S
from .report import Bar, table
from .sound_queries import OFFSET_S
from .topics import expected_calibration_error, reliability

BARS = {
    "clean": 100,
    "MP3 64k": 100,
    "AAC 64k": 100,
    "pink noise 10 dB": 100,
    "pink noise 5 dB": 100,
    "pink noise 0 dB": 98,
    "babble 10 dB": 100,
    "babble 5 dB": 98,
    "babble 0 dB": 92,
    "music 6 dB under speech": 92,
    "reverb": 100,
    "phone speaker": 100,
    "tempo x 0.90": 98,
    "tempo x 1.10": 98,
    "whole chain": 85,
}
OTHER_BAR = 95
"""Of the rows that are not named: speed and pitch."""
MEAN_BAR = 95
EFFECT_BARS = {"clean": 95, "pink noise 10 dB": 85, "speech 0 dB": 70, "speed x 1.10": 80}
SHORT_EFFECT_BAR = 85
"""Of effects under half a second, alone."""
CALIBRATION_BAR = 0.05


def bars(data: Mapping[str, Any]) -> list[Bar]:
    """Each figure against what it must reach."""
    five, ten = data["rows"]["5"], data["rows"]["10"]
    made = [Bar(name, 100 * row["found"], BARS.get(name, OTHER_BAR), unit="%") for name, row in five.items()]
    made.append(Bar("mean of all rows", 100 * _mean(row["found"] for row in five.values()), MEAN_BAR, unit="%"))
    alarms = sum(kind["alarms"] for kind in data["strangers"].values())
    asked = sum(kind["asked"] for kind in data["strangers"].values())
    made.append(Bar("false alarms", alarms / asked, 0.001, "<=", note=f"{alarms} of {asked} strangers"))
    lower = [name for name, row in ten.items() if row["found"] < five[name]["found"]]
    made.append(Bar("rows lower with 10 s than with 5 s", len(lower), 0, "<=", note=", ".join(lower)))
    made += _where(five) + _effects(data) + _several(data) + _costs(data)
    made.append(Bar("calibration error of the score", expected_calibration_error(_scores(data)), CALIBRATION_BAR, "<="))
    return made


def _scores(data: Mapping[str, Any]) -> list[tuple[float, bool]]:
    """Score of every use that was named, of music, effects and strangers, and whether it is right."""
    parts = [*data["rows"]["5"].values(), *data["rows"]["10"].values()]
    parts += [*data["effect_rows"].values(), *data["strangers"].values()]
    return [(score, right) for part in parts for score, right in part["scores"]]


def _where(rows: Mapping[str, Mapping[str, Any]]) -> list[Bar]:
    hits = [(row["found"] * row["asked"], row) for row in rows.values()]
    total = sum(weight for weight, _ in hits)
    return [
        Bar(label, 100 * sum(weight * row[key] for weight, row in hits) / total, bar, unit="% of hits")
        for key, bar, label in (
            ("right_offset", 98, "offset within 0.1 s, repetitions equal"),
            ("right_speed", 95, "speed within 1 %"),
            ("right_pitch", 95, "pitch within 0.25 semitone"),
        )
    ]


def _effects(data: Mapping[str, Any]) -> list[Bar]:
    rows = data["effect_rows"]
    made = [Bar("effects under 0.5 s, clean", 100 * _share(rows["clean"]["short"]), SHORT_EFFECT_BAR, unit="%")]
    made.append(Bar("effects from 0.5 s, clean", 100 * _share(rows["clean"]["longer"]), EFFECT_BARS["clean"], unit="%"))
    for name, row in rows.items():
        if name != "clean":
            both = [one + other for one, other in zip(row["short"], row["longer"], strict=True)]
            made.append(Bar(f"effects, {name}", 100 * _share(both), EFFECT_BARS[name], unit="%"))
    return made


def _several(data: Mapping[str, Any]) -> list[Bar]:
    heard, both, asked = data["over_music"]
    return [
        Bar("two sounds in turn, both named with their ranges", 100 * _share(data["in_turn"]), 90, unit="%"),
        Bar("effect under music 6 dB louder, named with its range", 100 * heard / asked, 90, unit="%"),
        Bar("and the music with its range as well", 100 * both / asked, 90, unit="%"),
        Bar("near-duplicates told apart", 100 * _share(data["twins"]), 90, unit="%"),
    ]


def _costs(data: Mapping[str, Any]) -> list[Bar]:
    costs = data["costs"]
    as_it_is = max(costs[name] for name in ("clean", "MP3 64k", "AAC 64k"))
    return [
        Bar("CPU a 5-s query, unmodified", as_it_is, 60, "<=", unit="ms"),
        Bar("CPU a 5-s query, slowest row", max(costs.values()), 300, "<=", unit="ms"),
        Bar("indexing", data["index_speed"], 200, unit="x real time, one core"),
        Bar("hash index", data["mb_per_hour"]["hashes"], 2.5, "<=", unit="MB an hour"),
    ]


def _share(both: Any) -> float:
    return float(both[0]) / max(1, both[1])


def _mean(values: Any) -> float:
    return float(np.mean(list(values)))


def body(data: Mapping[str, Any]) -> str:
    """The page below the bars."""
    size = data["mb_per_hour"]
    lines = [
        f"{data['tracks']} tracks, the first {TRACK_S:.0f} s of each ({data['hours']:.2f} h), and {data['effects']} "
        f"effects. Index, MB an hour of sound: {size['hashes']:.2f} of hashes and {size['bass']:.2f} "
        f"of bass; for verification {size['peaks']:.2f} of peaks and {size['signs']:.2f} of the whitened waveform's "
        "signs. Intervals: Wilson's, 95 %. A start offset is "
        f"right within {OFFSET_S} s, or where the track is to the ear the same (correlation of at least 0.9): many of "
        "these tracks are made of loops; *strictly* is without that. CPU is of one process that has answered "
        "others before, one question at a time; strangers and effects were asked two at a time, which slows "
        "both down.\n",
        _conditions(data["rows"]["5"], data["rows"]["10"], data["costs"]),
        "## Strangers\n",
        table(
            ("5-s excerpts", "asked", "alarms", "CPU ms"),
            [(kind, row["asked"], row["alarms"], row["cpu_ms"]) for kind, row in data["strangers"].items()],
        ),
        "## Effects\n",
        "Somewhere in a 5-s clip; levels are where the effect sounds. Effects that are one to the ear (correlation of "
        "at least 0.9) may be named for each other.\n",
        table(
            (
                "condition",
                "under 0.5 s: found %",
                "of",
                "from 0.5 s: found %",
                "of",
                "range %",
                "wrong names",
                "CPU ms",
            ),
            [
                (
                    name,
                    100 * _share(row["short"]),
                    row["short"][1],
                    100 * _share(row["longer"]),
                    row["longer"][1],
                    100 * row["right_range"],
                    row["wrong_names"],
                    row["cpu_ms"],
                )
                for name, row in data["effect_rows"].items()
            ],
        ),
    ]
    lines += [
        "## Score\n",
        "Of all uses that were named, of strangers too: how many are right at each score.\n",
        table(("mean score", "share right", "uses"), reliability(_scores(data))),
    ]
    if data.get("peers"):
        lines += ["## Beside others\n", _peers(data["peers"])]
    return "\n".join(lines)


def _conditions(five: Mapping[str, Any], ten: Mapping[str, Any], costs: Mapping[str, float]) -> str:
    header = ("condition", "5 s: found %", "interval", "10 s: found %", "offset right %", "strictly %", "speed %")
    return table(
        (*header, "pitch %", "wrong names", "CPU ms, 5 s"),
        [
            (
                name,
                100 * row["found"],
                f"{100 * row['found_low']:.0f} to {100 * row['found_high']:.0f}",
                100 * ten[name]["found"],
                100 * row["right_offset"],
                100 * row["strict_offset"],
                100 * row["right_speed"],
                100 * row["right_pitch"],
                row["wrong_names"],
                round(costs[name]),
            )
            for name, row in five.items()
        ],
    )


def _peers(asked: Mapping[str, Any]) -> str:
    peers = asked["systems"]
    names = list(peers)
    some = peers[names[0]]
    conditions = list(some["rows"])
    rows: list[tuple[Any, ...]] = [
        (condition, *(round(100 * _share(peers[name]["rows"][condition]["accepted"]), 1) for name in names))
        for condition in conditions
    ]
    rows.append(
        ("strangers that it takes for known", *(f"{peers[n]['alarms']} of {peers[n]['strangers']}" for n in names))
    )
    for label, key in (("mean of all rows", "accepted"), ("**mean without any false alarm**", "sure")):
        music = [condition for condition in conditions if not condition.startswith("effects")]
        rows.append((label, *(100 * _mean(_share(peers[n]["rows"][c][key]) for c in music) for n in names)))
    rows += [
        ("index, MB an hour", *(peers[name]["mb_per_hour"] for name in names)),
        ("indexing, CPU s an hour", *(peers[name]["index_s_per_hour"] for name in names)),
        ("CPU a question, ms", *(peers[name]["cpu_ms"] for name in names)),
    ]
    text = (
        f"{asked['said']}. The same questions, the first {some['rows'][conditions[0]]['accepted'][1]} of each row, and "
        f"{some['strangers']} strangers, in the same run on one thread; 5 s, accepted hits in %. *Without any false "
        "alarm*: only what scores higher than every stranger does; of the rows of music. CPU holds the start of each "
        "system's processes, shared by up to 500 questions.\n"
    )
    return text + "\n" + table(("condition", *names), rows)
