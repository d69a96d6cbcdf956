"""`tagfarm models drift`: is live traffic what a version was trained on?"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.table import Table

from scripts.commands.models import version_of
from scripts.console import emit, fail, out, plain


def drift(
    tagger: Annotated[str, typer.Argument(help="topics or events.")],
    days: Annotated[int, typer.Option(min=1, help="How far back.")] = 7,
    version: Annotated[str | None, typer.Option(help="TAGGER/NUMBER. Default: the champion.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a day.")] = False,
) -> None:
    """Live traffic against a version's training data: label frequencies, scores, how often it says nothing.

    `shift` is the population stability index of the scores: from 0.2 they are clearly distributed otherwise.
    """
    from models.training.statistics import Statistics
    from scripts.local import open_store
    from tasks.drift import by_day
    from workers.settings import settings
    from workers.versions import check_version

    store = open_store(create=True)
    champion = [state for state in store.aliases() if (state.tagger, state.alias) == (tagger, "champion")]
    number = champion[0].number if champion else None
    if version is None and number is None:
        fail(f"{tagger} has no trained champion: what tagfarm ships has no training data to compare with")
    if tagger == "quality":
        fail("quality says amounts, not labels: drift compares how often labels are said", code=2)
    found = version_of(version or f"{tagger}/{number}")
    training = Statistics.of_json(found.manifest["statistics"])
    spoken = check_version(settings(), found)
    for day in by_day(store, tagger, spoken, training, datetime.now(UTC), days):
        if as_json:
            emit({"version": found.name, **day.to_json()})
            continue
        out.print(f"[bold]{day.day or f'the last {days} days'}[/]  {day.uploads} uploads", highlight=False)
        table = Table("label", "in training", "live", "shift", header_style="bold", box=None)
        for row in day.rows:
            shift = "-" if row.score_shift is None else f"{row.score_shift:.3f}"
            told = f"[red]{shift}[/]" if row.moved else shift
            table.add_row(plain(row.label or "(unknown)"), f"{row.training:.1%}", f"{row.live:.1%}", told)
        out.print(table)
