"""Nothing secret gets into a log, a metric or a document: not from the settings, not from an upload's URI."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import httpx

from benchmarks.rabbit import free_port

SECRETS = {
    "web token": "webtoken-5f1e0a",
    "webhook secret": "webhook-secret-of-enough-bytes-77c1",
    "webhook url": "whkey-90ab12",
    "uri password": "hunter2-4c4c",
    "uri signature": "sig-0d0d9e",
    "s3 key": "s3key-aa11bb",
}


def test_no_secret_is_written_anywhere(farm_factory, media: Path, tmp_path: Path) -> None:
    environment = {
        "TAGFARM_WEB__TOKEN": SECRETS["web token"],
        "TAGFARM_FEED__WEBHOOK_URL": f"http://127.0.0.1:1/hook?key={SECRETS['webhook url']}",
        "TAGFARM_FEED__WEBHOOK_SECRET": SECRETS["webhook secret"],
        "TAGFARM_MEDIA__OBJECT_OPTIONS": json.dumps({"s3": {"secret": SECRETS["s3 key"]}}),
        "TAGFARM_WORKER__MAX_ATTEMPTS": "1",
    }
    farm = farm_factory(tmp_path / "farm", environment)
    port = free_port()
    web_log = (tmp_path / "web.log").open("wb")
    web = subprocess.Popen(
        [sys.executable, "-m", "scripts.cli", "web", "--port", str(port)],
        env={**farm.embedded.environment, "LOG_LEVEL": "debug"},
        stdout=web_log,
        stderr=subprocess.STDOUT,
    )
    try:
        uri = f"https://user:{SECRETS['uri password']}@127.0.0.1/x.mp4?signature={SECRETS['uri signature']}"
        base = f"http://127.0.0.1:{port}"
        good = {"Authorization": f"Bearer {SECRETS['web token']}"}
        farm.wait(lambda: _answers(base), "the gateway")
        sent = httpx.post(f"{base}/v1/uploads", json={"upload_id": "signed", "media": uri}, headers=good)
        assert sent.status_code == 202
        assert httpx.get(f"{base}/v1/feed", headers={"Authorization": "Bearer wrong"}).status_code == 401
        farm.sender.send_task(  # no upload: refused, and told why
            "tagfarm.tag_upload",
            kwargs={"upload": {"upload_id": "broken", "media": uri, "priority": 99}},
            queue="uploads",
        )
        farm.send("silent", media / "silent.mp4")
        documents = [farm.document(upload_id) for upload_id in ("signed", "broken", "silent")]
        farm.wait(lambda: "webhook failed" in farm.log(), "the webhook's failure")
        doctor = subprocess.run(
            [sys.executable, "-m", "scripts.cli", "doctor", "--quick", "--json"],
            env=farm.embedded.environment,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert [document["outcome"] for document in documents] == ["unsupported", "unsupported", "ok"]
    finally:
        web.terminate()
        web.wait(20)
        web_log.close()
        farm.close()
    everything = {
        "node log": farm.log(),
        "gateway log": (tmp_path / "web.log").read_text(errors="replace"),
        "documents": json.dumps(documents),
        "doctor": doctor.stdout + doctor.stderr,
    }
    assert "401" in everything["gateway log"]
    found = [(where, name) for where, text in everything.items() for name, secret in SECRETS.items() if secret in text]
    assert found == []


def _answers(base: str) -> bool:
    try:
        return httpx.get(f"{base}/v1/feed").status_code == 401
    except httpx.HTTPError:
        time.sleep(0.2)
        return False


def test_a_refused_setting_is_told_without_its_value(tmp_path: Path) -> None:
    environment = {**os.environ, "TAGFARM_HOME": str(tmp_path), "TAGFARM_FEED__WEBHOOK_URL": "https://h/?k=s3cr3t-url"}
    command = [sys.executable, "-m", "scripts.cli", "queues"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert "WEBHOOK_SECRET" in done.stderr and "s3cr3t-url" not in done.stderr
