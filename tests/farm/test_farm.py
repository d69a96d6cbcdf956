"""The farm as its users meet it: an upload service with plain Celery, a recommender that reads the feed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import httpx
import jsonschema
import redis

from scripts.commands.schema import schemas
from tasks.contract import TAGGERS


def command(farm, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "scripts.cli", *arguments],
        env=farm.embedded.environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_an_environment_with_only_celery_can_enqueue(farm, media: Path, tmp_path: Path) -> None:
    environment = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", str(environment)], check=True)
    python = environment / "bin" / "python"
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "celery[redis]"]
    subprocess.run(pip, check=True, timeout=240)
    code = (
        "import sys, celery\n"
        "try:\n    import pydantic\n    sys.exit('not an environment with only Celery')\nexcept ImportError: pass\n"
        "app = celery.Celery(broker=sys.argv[1])\n"
        "if sys.argv[1].startswith('amqp'):\n"
        "    from kombu import Exchange, Queue\n"
        "    app.conf.task_queues = [Queue('uploads', Exchange('uploads'), routing_key='uploads', no_declare=True)]\n"
        "app.send_task('tagfarm.tag_upload', queue='uploads',\n"
        "    kwargs={'upload': {'upload_id': 'plain', 'media': sys.argv[2], 'a_newer_field': 1}})\n"
    )
    arguments = [str(python), "-c", code, farm.embedded.broker_url, (media / "silent.mp4").as_uri()]
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "TAGFARM"))}
    subprocess.run(arguments, check=True, cwd=tmp_path, env=clean, timeout=60)
    assert farm.document("plain")["outcome"] == "ok"


def test_every_tagger_speaks_and_the_document_fits_the_published_schema(farm, media: Path) -> None:
    farm.send("whole", media / "a.mp4")
    document = farm.document("whole")
    assert set(document["models"]) == set(TAGGERS)
    assert document["absent"] == {}
    jsonschema.validate(document, schemas()["tag_document.schema.json"])


def test_the_next_upload_with_the_same_sound_has_its_id(farm, media: Path) -> None:
    farm.send("first", media / "a.mp4")
    first = farm.document("first")
    farm.send("second", media / "b.mp4")
    second = farm.document("second")
    assert first["diversity"]["sound"] is not None
    assert second["diversity"]["sound"] == first["diversity"]["sound"]
    (use,) = second["sounds"]
    assert use["kind"] == "original"
    assert abs(use["offset_s"] - use["range"][0] - 2.0) < 0.15


def test_redelivery_changes_nothing(farm, media: Path) -> None:
    farm.send("again", media / "silent.mp4")
    before = farm.document("again")
    events = farm.store.feed_head()
    farm.send("again", media / "silent.mp4")
    farm.send("after", media / "silent.mp4")
    farm.document("after")
    farm.wait(lambda: "upload again: done" in farm.log(), "the second message of `again`")
    assert farm.store.document("again") == before
    assert farm.store.feed_head() == events + 1


def test_only_the_taggers_that_were_asked_for_speak(farm, media: Path) -> None:
    farm.send("few", media / "a.mp4", taggers=["quality", "layout"])
    document = farm.document("few")
    assert set(document["models"]) == {"quality", "layout"}
    assert document["topics"] == document["events"] == document["sounds"] == []


def test_what_cannot_be_tagged_has_a_document_all_the_same(farm, media: Path) -> None:
    farm.send("noise", media / "noise.bin")
    farm.send("gone", media / "not-there.mp4")
    farm.send("elsewhere", Path("/etc/passwd"))
    assert farm.document("noise")["outcome"] == "unsupported"
    assert farm.document("gone")["outcome"] == "unsupported"
    assert farm.document("elsewhere")["outcome"] == "unsupported"
    assert "root:" not in json.dumps(farm.document("elsewhere"))


def test_a_message_that_is_no_upload_is_kept_for_people(farm) -> None:
    farm.sender.send_task("tagfarm.tag_upload", kwargs={"upload": {"media": "file:///x"}}, queue="uploads")
    farm.wait(lambda: farm.store.refusals(), "the refusal")
    (_, message, problems), *_ = farm.store.refusals()
    assert json.loads(message) == {"media": "file:///x"}
    assert "upload_id" in problems


def test_the_stream_carries_what_the_feed_has(farm, media: Path) -> None:
    farm.send("streamed", media / "silent.mp4")
    farm.document("streamed")
    client = redis.Redis.from_url(farm.stream_url, decode_responses=True)

    def last() -> int:
        entries = client.xrevrange(farm.stream, count=1)
        return int(entries[0][1]["cursor"]) if entries else 0

    farm.wait(lambda: last() == farm.store.feed_head(), "the stream to catch up")
    cursors = [int(fields["cursor"]) for _, fields in client.xrange(farm.stream)]
    assert cursors == list(range(1, len(cursors) + 1))
    client.close()


def test_the_commands_show_what_the_farm_knows(farm, media: Path, tmp_path: Path) -> None:
    farm.send("shown", media / "a.mp4", caption="<b>hello</b>")
    document = farm.document("shown")
    shown = command(farm, "show", "shown", "--json")
    assert json.loads(shown.stdout) == document
    feed = command(farm, "feed", "--json")
    assert [json.loads(line)["cursor"] for line in feed.stdout.splitlines()] == list(
        range(1, len(feed.stdout.splitlines()) + 1)
    )
    page = tmp_path / "page.html"
    assert command(farm, "report", "shown", "-o", str(page)).returncode == 0
    html = page.read_text()
    assert "data:image/jpeg;base64," in html
    assert "&lt;b&gt;hello" in html
    unknown = command(farm, "show", "nobody")
    assert unknown.returncode == 1
    assert "tagfarm enqueue" in unknown.stderr


def test_enqueue_waits_for_the_document(farm, media: Path) -> None:
    done = command(farm, "enqueue", str(media / "silent.mp4"), "--upload-id", "waited", "--wait", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["upload_id"] == "waited"


def test_an_upload_is_tagged_anew_when_asked(farm, media: Path) -> None:
    farm.send("anew", media / "silent.mp4")
    before, head = farm.document("anew"), farm.store.feed_head()
    assert command(farm, "retag", "anew").returncode == 0
    farm.wait(lambda: farm.log().count("upload anew: ok") == 2, "the second time")
    farm.wait(lambda: farm.store.status("anew").state == "done", "its end")
    after = farm.document("anew")
    assert after["timings_ms"] != before["timings_ms"] or after == before
    assert farm.store.feed_head() == head, "the same answer is no news"
    assert command(farm, "retag", "nobody").returncode == 1


def test_a_catalogue_song_is_named(farm, song: Path) -> None:
    songs = song.parent
    added = command(farm, "sounds", "add", str(songs), "--json")
    assert added.returncode == 0, added.stderr
    (line,) = added.stdout.splitlines()
    assert json.loads(line)["new"] is True
    again = command(farm, "sounds", "add", str(songs), "--json")
    assert json.loads(again.stdout)["new"] is False
    found = command(farm, "sounds", "match", str(song), "--json")
    (use,) = json.loads(found.stdout)["sounds"]
    assert (use["title"], use["kind"]) == ("Night Drive", "song")
    assert "Night Drive" in command(farm, "sounds", "list").stdout


def test_the_node_says_how_it_is(farm, media: Path) -> None:
    farm.send("measured", media / "silent.mp4")
    farm.document("measured")
    farm.wait(lambda: "tagfarm_documents_total" in httpx.get(farm.metrics_url).text, "the metrics")
    page = httpx.get(farm.metrics_url).text
    assert 'tagfarm_documents_total{outcome="ok"}' in page
    assert 'tagfarm_batch_fill{network="picture"}' in page
    assert "tagfarm_in_flight" in page
