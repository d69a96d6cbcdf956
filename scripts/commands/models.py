"""`tagfarm models`: trained versions, and which of them speak."""

from __future__ import annotations

import getpass
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer
from rich.table import Table

from scripts.console import emit, err, fail, out, plain

if TYPE_CHECKING:
    from models.registry.versions import Registry, Version
    from store.store import AliasState

app = typer.Typer(
    help="Trained versions: list, show, promote, roll back. Nodes take a change up within seconds, without a restart.",
    no_args_is_help=True,
)
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object a line.")]
Who = Annotated[str | None, typer.Option(help="Who decides. Default: this machine's user.")]
Why = Annotated[str, typer.Option(help="Why: it is kept in the history.")]
Name = Annotated[str, typer.Argument(help="TAGGER/NUMBER as `tagfarm models list` shows it, e.g. topics/3.")]
As = Annotated[str, typer.Option("--as", help="champion, challenger (canary) or shadow.")]


@app.command("list")
def list_(as_json: AsJson = False) -> None:
    """Every trained version: whether it is sound, how good, and what it is used as."""
    from models.registry.versions import VersionError

    registry, states = _registry(), _states()
    table = Table(
        "version",
        "used as",
        "labels",
        "mean AP",
        "mean F1",
        "head",
        "encoder",
        "trained",
        header_style="bold",
        box=None,
    )
    for tagger, number in registry.names():
        used = [_use(state) for state in states if (state.tagger, state.number) == (tagger, number)]
        row: dict[str, Any] = {"version": f"{tagger}/{number}", "used_as": used}
        try:
            manifest = registry.version(tagger, number).manifest
        except VersionError as error:
            row |= {"state": type(error).__name__, "reason": str(error)}
            table.add_row(row["version"], ", ".join(used), f"[red]{plain(error)}[/]")
        else:
            metrics = manifest["metrics"]
            row |= {"state": "sound", "labels": manifest["labels"], "created_at": manifest["created_at"]}
            row |= {"mean_average_precision": metrics["mean_average_precision"], "mean_f1": metrics["mean_f1"]}
            table.add_row(
                row["version"],
                ", ".join(used),
                str(len(manifest["labels"])),
                _figure(metrics["mean_average_precision"]),
                _figure(metrics["mean_f1"]),
                manifest["head"]["kind"],
                manifest["encoder"],
                manifest["created_at"],
            )
        if as_json:
            emit(row)
    if as_json:
        return
    if not registry.names():
        err.print(
            f"there is no trained version in {registry.root} yet; make one with: tagfarm train topics --data FOLDER"
        )
        return
    out.print(table)


@app.command()
def show(name: Name, as_json: AsJson = False) -> None:
    """One version: what it was trained on, how good it is for each label, and its history as an alias."""
    version = version_of(name)
    history = [
        {"at": state.at.isoformat(), "action": state.action, "as": _use(state), "who": state.who, "why": state.why}
        for state in _history(version.tagger)
        if state.number == version.number
    ]
    if as_json:
        emit({**version.manifest, "digest": version.digest, "history": history})
        return
    manifest = version.manifest
    out.print(
        f"[bold]{version.name}[/] {manifest['head']['kind']} head on {manifest['encoder']}, {manifest['taxonomy']}"
    )
    uploads = ", ".join(f"{count} {split}" for split, count in manifest["data"]["uploads"].items())
    out.print(
        f"trained {manifest['created_at']} by tagfarm {manifest['code_version']} on {uploads} uploads", highlight=False
    )
    out.print(f"data {manifest['data']['hash'][:16]}, manifest {version.digest[:16]}", highlight=False)
    if "fine_tuning" in manifest:
        tuned = manifest["fine_tuning"]
        assert version.own_encoder is not None
        out.print(
            f"its encoder is {version.own_encoder[1]}: the last {tuned['blocks']} blocks fine-tuned, loss on the "
            f"validation split {tuned.get('packaged_validation_loss')} before, {tuned.get('validation_loss')} after",
            highlight=False,
        )
    out.print(_graded(manifest["metrics"]) if manifest["metrics"].get("graded") else _judged(manifest["metrics"]))
    for line in history:
        out.print(
            f"{line['at']}  {line['action']} as {line['as']} by {plain(line['who'])}: {plain(line['why'])}",
            highlight=False,
        )


def _graded(metrics: Any) -> Table:
    names = ("label", "uploads", "rank correlation", "95 %", "mean error", "95 %", "bias", "on")
    table = Table(*names, header_style="bold", box=None)
    for label, row in metrics["labels"].items():
        table.add_row(
            plain(label),
            str(row["uploads"]),
            _figure(row["rank_correlation"]),
            _interval(row["rank_correlation_interval"]),
            _figure(row["mean_absolute_error"]),
            _interval(row["mean_absolute_error_interval"]),
            _figure(row["bias"]),
            row["split"],
        )
    return table


def _judged(metrics: Any) -> Table:
    table = Table(
        "label", "uploads", "AP", "95 %", "F1", "95 %", "ECE", "threshold", "on", header_style="bold", box=None
    )
    for label, row in metrics["labels"].items():
        table.add_row(
            plain(label),
            f"{row['positives']} of {row['positives'] + row['negatives']}",
            _figure(row["average_precision"]),
            _interval(row["average_precision_interval"]),
            _figure(row["f1"]),
            _interval(row["f1_interval"]),
            _figure(row["ece"]),
            _figure(row["threshold"]),
            row["split"],
        )
    return table


@app.command()
def promote(
    name: Name,
    why: Why,
    as_: As = "champion",
    share: Annotated[float, typer.Option(min=0.0, max=1.0, help="Of the uploads, for a challenger or a shadow.")] = 1.0,
    who: Who = None,
    as_json: AsJson = False,
) -> None:
    """Let an alias mean this version. Refused if it is damaged, not signed, or made for another encoder or taxonomy.

    `TAGGER/packaged` is what tagfarm ships: as champion it takes the trained version's place; as challenger or shadow
    it ends that alias.
    """
    from models.protocol import WeightsMissing
    from models.registry.versions import VersionError, parse_name
    from scripts.local import open_store
    from store.aliases import ALIASES, AliasName
    from workers.settings import settings
    from workers.versions import check_version

    if as_ not in ALIASES:
        fail(f"--as {as_} is none of {', '.join(ALIASES)}", code=2)
    if as_ == "champion" and share != 1.0:
        fail("a champion speaks of every upload; for a share of them use --as challenger", code=2)
    if share == 0.0:
        fail(f"a share of 0 is no {as_}; end it with: tagfarm models promote TAGGER/packaged --as {as_}", code=2)
    try:
        tagger, number = parse_name(name)
        digest = None
        if number is not None:
            version = _registry().version(tagger, number)
            check_version(settings(), version)
            digest = version.digest
    except (VersionError, WeightsMissing) as error:
        fail(f"{type(error).__name__}: {error}")
    store = open_store(create=True)
    state = store.promote(tagger, cast("AliasName", as_), number, digest, share, who or getpass.getuser(), why)
    _tell(state, as_json)


@app.command()
def rollback(
    tagger: Annotated[str, typer.Argument(help="topics, events or quality.")],
    why: Why,
    as_: As = "champion",
    who: Who = None,
    as_json: AsJson = False,
) -> None:
    """Go back to what spoke before the last promotion. Again: further back."""
    from scripts.local import open_store
    from store.aliases import ALIASES, AliasName

    if as_ not in ALIASES:
        fail(f"--as {as_} is none of {', '.join(ALIASES)}", code=2)
    state = open_store().rollback(tagger, cast("AliasName", as_), who or getpass.getuser(), why)
    _tell(state, as_json)


@app.command()
def history(
    tagger: Annotated[str | None, typer.Argument(help="Of this tagger alone.")] = None, as_json: AsJson = False
) -> None:
    """Every promotion and rollback, the newest first: what, who, why."""
    for state in _history(tagger):
        if as_json:
            emit(_facts(state))
        else:
            what = f"{state.tagger}/{_number(state)}"
            line = f"{state.at:%Y-%m-%d %H:%M:%S}  {state.action} {what} as {_use(state)} by {state.who}: {state.why}"
            out.print(plain(line), highlight=False)


def _registry() -> Registry:
    from workers.settings import settings
    from workers.versions import open_registry

    return open_registry(settings())


def version_of(name: str) -> Version:
    """A version by the name that a person typed; if it cannot be had, the command fails and says why."""
    from models.registry.versions import PACKAGED, VersionError, parse_name

    try:
        tagger, number = parse_name(name)
        if number is None:
            fail(f"{PACKAGED} is what tagfarm ships: it has no manifest; see benchmarks/results/taggers.md", code=2)
        return _registry().version(tagger, number)
    except VersionError as error:
        fail(f"{type(error).__name__}: {error}")


def _states() -> list[AliasState]:
    from scripts.local import open_store

    return open_store(create=True).aliases()


def _history(tagger: str | None) -> list[AliasState]:
    from scripts.local import open_store

    return list(open_store(create=True).alias_history(tagger))


def _tell(state: AliasState, as_json: bool) -> None:
    if as_json:
        emit(_facts(state))
        return
    out.print(
        f"{_use(state)} of {state.tagger} is now {state.tagger}/{_number(state)} (change {state.change_id})",
        highlight=False,
    )


def _facts(state: AliasState) -> dict[str, Any]:
    return {
        "tagger": state.tagger,
        "alias": state.alias,
        "number": state.number,
        "share": state.share,
        "action": state.action,
        "who": state.who,
        "why": state.why,
        "at": state.at.isoformat(),
        "change_id": state.change_id,
        "digest": state.digest,
    }


def _number(state: AliasState) -> str:
    from models.registry.versions import PACKAGED

    return PACKAGED if state.number is None else str(state.number)


def _use(state: AliasState) -> str:
    return state.alias if state.share == 1.0 else f"{state.alias} of {state.share:.1%}"


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _interval(value: list[float] | None) -> str:
    return "" if value is None else f"{value[0]:.2f}-{value[1]:.2f}"
