import json
import math
from pathlib import Path

import pytest

from benchmarks.report import Bar, bars_of, bars_table, check, figure, read, table, today, write


def test_a_bar_is_met_only_by_a_figure_that_reaches_it():
    assert Bar("p", 0.8, 0.8).met
    assert not Bar("p", 0.799, 0.8).met
    assert Bar("t", 2.9, 3, "<=").met
    assert not Bar("t", 3.1, 3, "<=").met
    assert not Bar("p", None, 0).met
    assert not Bar("p", math.nan, 0).met


def test_check_prints_every_bar_and_fails_when_one_is_missed(capsys):
    assert check([Bar("good", 0.9, 0.8), Bar("bad", 0.5, 0.8)]) == 1
    shown = capsys.readouterr().out
    assert "good" in shown and "met" in shown
    assert "bad" in shown and "MISSED" in shown
    assert check([Bar("good", 0.9, 0.8)]) == 0
    assert check([]) == 1, "nothing measured is not a pass"


def test_write_leaves_a_page_and_a_document_that_say_the_same(tmp_path, monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "86400")
    page = write(
        "x", title="X", command="python -m x", bars=[Bar("p", 0.9, 0.8)], data={"n": 3}, body="tail", folder=tmp_path
    )
    text = page.read_text()
    assert text.startswith("# X\n") and "1970-01-02" in text and text.endswith("tail\n")
    document = read("x", tmp_path)
    assert document["data"] == {"n": 3}
    assert document["bars"][0]["met"] is True
    assert document["date"] == today() == "1970-01-02"
    before = page.read_bytes(), (tmp_path / "x.json").read_bytes()
    write("x", title="X", command="python -m x", bars=[Bar("p", 0.9, 0.8)], data={"n": 3}, body="tail", folder=tmp_path)
    assert before == (page.read_bytes(), (tmp_path / "x.json").read_bytes())


def test_a_number_that_json_cannot_hold_is_refused(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        write("x", title="X", command="c", bars=[], data={"n": math.nan}, body="", folder=tmp_path)


def test_the_document_names_no_path_and_no_host(tmp_path):
    import socket

    write("x", title="X", command="c", bars=[], data={}, body="", folder=tmp_path)
    raw = (tmp_path / "x.json").read_text()
    assert json.loads(raw)["machine"]["cores"]
    assert str(tmp_path) not in raw and f'"{socket.gethostname()}"' not in raw


@pytest.mark.parametrize(
    ("value", "text"), [(3.0, "3"), (0.85, "0.850"), (12.345, "12.3"), (0.0, "0"), (math.nan, "nan")]
)
def test_figures(value, text):
    assert figure(value) == text


def test_a_pipe_in_a_cell_does_not_break_the_table():
    assert table(("a",), [("x|y",)]).splitlines()[2] == r"| x\|y |"
    assert "MISSED" in bars_table([Bar("p", None, 1)])


def test_bars_are_read_again_with_their_date(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "0")
    bars = [Bar("speed", 2.0, 1.0, unit="x"), Bar("faults", None, 0, "<=")]
    write("kept", title="t", command="c", bars=bars, data={}, body="", folder=tmp_path)
    again = bars_of("kept", tmp_path)
    assert [(bar.name, bar.value, bar.met, bar.note) for bar in again] == [
        ("speed", 2.0, True, "1970-01-01"),
        ("faults", None, False, "1970-01-01"),
    ]
