"""`tagfarm up`, `worker`, `doctor`, `web`: the processes."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.live import Live
from rich.table import Table

from scripts.console import emit, err, fail, out
from tasks.queues import QUEUES

Roots = Annotated[
    list[Path] | None, typer.Option("--root", help="Folder that file:// may read; repeat. Default: here.")
]


def up(
    root: Roots = None,
    nodes: Annotated[int, typer.Option(min=1, help="Nodes to start.")] = 1,
    log: Annotated[Path | None, typer.Option(help="The nodes' log. Default: node.log in TAGFARM_HOME.")] = None,
) -> None:
    """Run a whole farm here, in the foreground: a real Valkey, the store in a file, nodes. Ctrl-C stops it cleanly."""
    from filelock import FileLock, Timeout

    from scripts.local import open_store
    from workers.embedded import DEFAULT_PORT, EmbeddedFarm
    from workers.settings import settings

    home = settings().home
    home.mkdir(parents=True, exist_ok=True)
    store = open_store(create=True)
    log_path = log or home / "node.log"

    # Told by an event: an exception that is raised in the midst of anything can be lost there (seen once in a test).
    stopped = threading.Event()
    for stopping in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(stopping, lambda *_: stopped.set())
    one = FileLock(home / "up.lock")
    try:
        one.acquire(timeout=0)
    except Timeout:
        fail(f"another `tagfarm up` runs in {home}; stop it, or set TAGFARM_HOME elsewhere")
    with log_path.open("ab") as log_file:
        farm = EmbeddedFarm(home, root or [Path.cwd()], nodes, log=log_file, port=DEFAULT_PORT)
        try:
            farm.start()
            err.print(f"broker [bold]{farm.broker_url}[/]   store [bold]{settings().store_url}[/]", highlight=False)
            err.print(f"log {log_path}   try: tagfarm enqueue FILE --wait   stop: Ctrl-C", highlight=False)
            started = time.monotonic()
            with Live(console=err, refresh_per_second=2) as live:
                while not stopped.wait(0.5):
                    alive = sum(node.poll() is None for node in farm.nodes)
                    live.update(_status(store.counts(), farm.queue_lengths(), alive, time.monotonic() - started))
                    if alive < nodes and not farm.revive():
                        fail(f"nodes end as soon as they start; see {log_path}")
            err.print("stopping: what is in flight is finished first")
        finally:
            # A second Ctrl-C, or a terminal that closes, must not leave the farm's processes behind.
            for stopping in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                signal.signal(stopping, signal.SIG_IGN)
            farm.stop()
            store.close()
            one.release()
    err.print("stopped")


def _status(counts: dict[str, int], queues: dict[str, int], alive: int, seconds: float) -> Table:
    table = Table(box=None, header_style="dim")
    for name in ("up", "nodes", *queues, *counts):
        table.add_column(name, justify="right")
    minutes, rest = divmod(int(seconds), 60)
    values = [f"{minutes}:{rest:02d}", str(alive), *map(str, queues.values()), *map(str, counts.values())]
    table.add_row(*values)
    return table


def worker(
    context: typer.Context,
    queues: Annotated[str, typer.Option("-Q", "--queues", help="Queues to serve, the urgent first.")] = ",".join(
        QUEUES
    ),
    concurrency: Annotated[int | None, typer.Option("-c", "--concurrency", help="Uploads in flight.")] = None,
    name: Annotated[str, typer.Option(help="The node's name.")] = "tagfarm",
    log_level: Annotated[str, typer.Option(help="DEBUG, INFO, WARNING, ERROR.")] = "INFO",
    attended: Annotated[bool, typer.Option(help="End softly when standard input ends: who held it has gone.")] = False,
) -> None:
    """One node: `celery -A workers.app worker` with good defaults. More of Celery's options may follow."""
    from workers.app import app
    from workers.settings import settings

    if concurrency is not None:
        settings().worker.concurrency = concurrency
    if attended:
        threading.Thread(target=_end_with_input, name="attended", daemon=True).start()
    arguments = ["worker", "-P", "threads", "-Q", queues, "-l", log_level, "-n", f"{name}@%h"]
    arguments += ["-c", str(settings().worker.threads), *context.args]
    app.worker_main(arguments)


def _end_with_input() -> None:
    while os.read(0, 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


def doctor(
    quick: Annotated[bool, typer.Option(help="Only what a health check needs: broker, store, weights.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One finding a line.")] = False,
) -> None:
    """Say what is missing or unsafe, and how to mend it. Exits 1 if the farm cannot work."""
    from workers.doctor import examine

    findings = examine(quick=quick)
    marks = {"good": "[green]good[/]", "warning": "[yellow]warn[/]", "bad": "[bold red]BAD [/]"}
    for finding in findings:
        if as_json:
            emit({"what": finding.what, "state": finding.state, "found": finding.found, "cure": finding.cure})
        else:
            out.print(f"{marks[finding.state]}  [bold]{finding.what}[/]: {finding.found}", highlight=False)
            if finding.cure:
                out.print(f"      {finding.cure}", highlight=False)
    raise typer.Exit(1 if any(finding.state == "bad" for finding in findings) else 0)


def queues(
    revive: Annotated[bool, typer.Option("--revive", help="RabbitMQ: dead letters go back into their queues.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One queue a line.")] = False,
) -> None:
    """How long the queues are, and how old what waits in them; on RabbitMQ also what was delivered too often."""
    from celery import Celery
    from kombu.exceptions import OperationalError

    from scripts.local import open_store
    from tasks.queues import DEAD_QUEUE, is_amqp, queue_depths
    from tasks.queues import revive as revive_dead
    from workers.settings import settings

    url = settings().broker.url
    broker = Celery("tagfarm-queues", broker=url)
    broker.conf.broker_transport_options = {"confirm_publish": True} if is_amqp(url) else {}
    try:
        if revive:
            err.print(f"{revive_dead(broker)} dead letters are back in their queues")
        depths = queue_depths(broker, (*QUEUES, DEAD_QUEUE) if is_amqp(url) else QUEUES)
    except (OperationalError, OSError) as error:
        fail(f"the broker cannot be reached ({error}); is the farm up? run: tagfarm up")
    ages = {age.queue: age for age in open_store().queue_ages()}
    table = Table(box=None, header_style="dim")
    for name in ("queue", "messages", "in the ledger", "oldest there, s"):
        table.add_column(name, justify="left" if name == "queue" else "right")
    for queue, depth in depths.items():
        age = ages.get(queue)
        waiting, oldest_s = (age.waiting, round(age.oldest_s, 1)) if age else (0, None)
        if as_json:
            emit({"queue": queue, "messages": depth, "ledger_waiting": waiting, "ledger_oldest_s": oldest_s})
        table.add_row(queue, str(depth), str(waiting), "" if oldest_s is None else f"{oldest_s:.0f}")
    if not as_json:
        out.print(table)


def web(
    host: Annotated[str | None, typer.Option(help="Default: TAGFARM_WEB__HOST.")] = None,
    port: Annotated[int | None, typer.Option(help="Default: TAGFARM_WEB__PORT.")] = None,
) -> None:
    """The HTTP gateway: enqueue, documents, feed, report pages. Beyond the loopback address it needs a token."""
    import uvicorn

    from scripts.local import open_artifacts, open_store
    from tasks.enqueue import Sender
    from web.access import LOOPBACK_HOSTS, WebLimits
    from web.gateway import create_gateway
    from workers.settings import settings

    web_settings = settings().web
    address = host or web_settings.host
    token = web_settings.token.get_secret_value() if web_settings.token else None
    store = open_store(create=True)
    if address not in LOOPBACK_HOSTS and not token and not store.list_tokens():
        fail(f"{address} is not the loopback address: make a token first: tagfarm tokens create NAME", code=2)
    limits = WebLimits(web_settings.max_body_bytes, web_settings.rate_per_s, web_settings.burst)
    gateway = create_gateway(store, open_artifacts(), Sender(settings().broker.url), token, limits)
    uvicorn.run(gateway, host=address, port=port or web_settings.port, log_level=os.environ.get("LOG_LEVEL", "info"))
