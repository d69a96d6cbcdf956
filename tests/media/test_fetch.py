from __future__ import annotations

import hashlib
import os
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from media import fetch_http
from media.addresses import is_public
from media.fetch import fetch
from media.fetch_policy import FetchPolicy, FetchUnavailable
from media.types import MediaError

BODY = bytes(range(256)) * 5000


@pytest.fixture
def dest(tmp_path: Path) -> Path:
    folder = tmp_path / "dest"
    folder.mkdir()
    return folder


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "media root"
    folder.mkdir()
    (folder / "a clip.mp4").write_bytes(BODY)
    return folder


def refused(uri: str, dest: Path, policy: FetchPolicy) -> MediaError:
    with pytest.raises(MediaError) as failure:
        fetch(uri, dest, policy)
    assert list(dest.iterdir()) == []
    return failure.value


# --- file:// ---


def test_a_file_is_linked_and_hashed(root: Path, dest: Path) -> None:
    fetched = fetch((root / "a clip.mp4").as_uri(), dest, FetchPolicy(file_roots=(root,)))
    assert fetched.sha256 == hashlib.sha256(BODY).hexdigest() and fetched.bytes == len(BODY)
    assert fetched.path.parent == dest and fetched.path.read_bytes() == BODY
    assert fetched.path.stat().st_ino == (root / "a clip.mp4").stat().st_ino


def test_a_file_is_copied_where_it_cannot_be_linked(root: Path, dest: Path, monkeypatch) -> None:
    def across(*_: object, **__: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", across)
    fetched = fetch((root / "a clip.mp4").as_uri(), dest, FetchPolicy(file_roots=(root,)))
    assert fetched.path.read_bytes() == BODY and fetched.sha256 == hashlib.sha256(BODY).hexdigest()


def test_nothing_outside_the_roots_is_read(root: Path, dest: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("s3cret")
    (root / "link").symlink_to(secret)
    (root / "folder").symlink_to(tmp_path)
    (root / "inner").symlink_to("a clip.mp4")
    (tmp_path / "media root evil").mkdir()
    (tmp_path / "media root evil" / "x").write_text("x")
    policy = FetchPolicy(file_roots=(root,))
    base = root.as_uri()
    for uri in (
        secret.as_uri(),
        f"{base}/link",
        f"{base}/folder/secret",
        f"{base}/../secret",
        f"{base}/%2e%2e/secret",
        f"{base}%20evil/x",
        "file:///etc/passwd",
        "file:///proc/self/environ",
        "file://",
    ):
        error = refused(uri, dest, policy)
        assert error.outcome == "unsupported", uri
        assert "s3cret" not in error.reason and str(tmp_path) not in error.reason
    assert fetch(f"{base}/inner", dest, policy).bytes == len(BODY)


def test_only_regular_files_are_read(root: Path, dest: Path) -> None:
    os.mkfifo(root / "pipe")
    (root / "folder").mkdir()
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(root / "socket"))
    policy = FetchPolicy(file_roots=(root, Path("/dev")))
    start = time.monotonic()
    for uri in (f"{root.as_uri()}/pipe", f"{root.as_uri()}/folder", f"{root.as_uri()}/socket", "file:///dev/zero"):
        assert refused(uri, dest, policy).outcome == "unsupported", uri
    assert time.monotonic() - start < 2
    listener.close()


@pytest.mark.parametrize(
    "uri",
    [
        "file://elsewhere/a",
        "file:///a%00b",
        "ftp://host/a",
        "/etc/passwd",
        "data:,x",
        "http://[",
        "gopher://x",
        "",
        "x:",
    ],
)
def test_other_uris_are_refused(uri: str, root: Path, dest: Path) -> None:
    assert refused(uri, dest, FetchPolicy(file_roots=(root,))).outcome == "unsupported"


def test_without_roots_no_file_is_read(root: Path, dest: Path) -> None:
    assert "settings" in refused((root / "a clip.mp4").as_uri(), dest, FetchPolicy()).reason


def test_a_missing_and_a_large_file(root: Path, dest: Path) -> None:
    policy = FetchPolicy(file_roots=(root,), max_bytes=1000)
    assert refused(f"{root.as_uri()}/none", dest, policy).reason == "there is no such file"
    assert refused(f"{root.as_uri()}/a%20clip.mp4", dest, policy).outcome == "too_large"


# --- which addresses are public ---


@pytest.mark.parametrize("address", ["93.184.216.34", "8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8"])
def test_public_addresses(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "127.9.9.9", "0.0.0.0", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1",
        "169.254.169.254", "100.64.0.1", "192.0.0.1", "198.18.0.1", "192.0.2.1", "224.0.0.1", "240.0.0.1",
        "255.255.255.255", "::1", "::", "fe80::1", "fe80::1%eth0", "fc00::1", "fd12:3456::1", "ff02::1",
        "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::127.0.0.1", "64:ff9b::7f00:1",
        "64:ff9b::a9fe:a9fe", "64:ff9b:1::a00:1", "2002:7f00:1::", "2002:a9fe:a9fe::1", "2001:0:53aa:64c::1",
        "2001:db8::1", "fec0::1", "not an address", "",
    ],
)  # fmt: skip
def test_addresses_that_are_not_public(address: str) -> None:
    assert not is_public(address)


# --- http(s):// ---

Answer = Callable[[BaseHTTPRequestHandler], None]


@contextmanager
def server(answer: Answer, context: ssl.SSLContext | None = None, host: str = "127.0.0.1") -> Iterator[int]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            with suppress(BrokenPipeError, ConnectionResetError):
                answer(self)

        def log_message(self, *_: object) -> None:
            pass

    web = ThreadingHTTPServer((host, 0), Handler)
    web.daemon_threads = True
    if context is not None:
        web.socket = context.wrap_socket(web.socket, server_side=True)
    thread = threading.Thread(target=web.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield web.server_address[1]
    finally:
        web.shutdown()
        web.server_close()


def send(handler: BaseHTTPRequestHandler, status: int = 200, body: bytes = b"", **headers: str) -> None:
    handler.send_response(status)
    for name, value in headers.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.end_headers()
    handler.wfile.write(body)


LOCAL = FetchPolicy(allow_http=True, allow_private=True, resolver=lambda host, port: ["127.0.0.1"])


def test_a_download(dest: Path) -> None:
    seen = {}

    def answer(handler: BaseHTTPRequestHandler) -> None:
        seen.update(handler.headers)
        send(handler, body=BODY)

    with server(answer) as port:
        fetched = fetch(f"http://user:password@media.test:{port}/a?b=c#d", dest, LOCAL)
    assert fetched.path.read_bytes() == BODY and fetched.sha256 == hashlib.sha256(BODY).hexdigest()
    assert seen["Host"] == f"media.test:{port}" and seen["Accept-Encoding"] == "identity"


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0", "169.254.169.254", "127.1", "2130706433",
        "0x7f000001", "017700000001", "[fe80::1%25lo]", "0177.0.0.1", "0x7f.1", "00000177.0.0.1", "127.0.0.1.",
        "localhost.", "ip6-localhost", "[::]", "[::ffff:7f00:1]", "[0:0:0:0:0:ffff:127.0.0.1]", "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]", "[::7f00:1]", "[fc00::1]", "[ff02::1]", "①②⑦.⓪.⓪.①", "127。0。0。1", "１２７.0.0.1",
        "8.8.8.8@127.0.0.1", "a:b@127.0.0.1", "8.8.8.8%2f@127.0.0.1", "127.0.0.1%00.example.com", "0",
    ],
)  # fmt: skip
def test_the_farms_own_network_is_not_reached(host: str, dest: Path) -> None:
    hits = []
    with server(lambda handler: hits.append(1) or send(handler)) as port:
        policy = FetchPolicy(allow_http=True)
        for uri in (f"http://{host}:{port}/", f"http://{host}/", f"https://{host}/"):
            with suppress(FetchUnavailable):  # not resolved here: as good
                assert refused(uri, dest, policy).outcome == "unsupported"
    assert hits == []


@pytest.mark.parametrize("addresses", [["127.0.0.1"], ["8.8.8.8", "10.0.0.1"], ["::ffff:169.254.169.254"]])
def test_a_name_that_leads_to_a_private_address_is_refused(addresses: list[str], dest: Path) -> None:
    policy = FetchPolicy(resolver=lambda host, port: addresses)
    assert refused("https://evil.test/", dest, policy).reason == "the host is not on the public internet"


def test_the_name_is_resolved_once_and_the_answer_is_kept(dest: Path) -> None:
    """DNS rebinding: a second look-up would give another address."""
    answers = iter([["127.0.0.1"], ["192.0.2.1"], ["192.0.2.1"]])
    policy = FetchPolicy(allow_http=True, allow_private=True, resolver=lambda host, port: next(answers))
    with server(lambda handler: send(handler, body=b"x")) as port:
        assert fetch(f"http://rebind.test:{port}/", dest, policy).bytes == 1
    assert next(answers) == ["192.0.2.1"]


def test_a_name_that_changes_its_answer_at_a_redirect_is_checked_again(dest: Path, monkeypatch) -> None:
    """DNS rebinding by way of a redirect to the same name: 127.0.0.1 counts as public here, 127.0.0.2 is inside."""
    hits = []
    answers = iter([["127.0.0.1"], ["127.0.0.2"]])
    policy = FetchPolicy(allow_http=True, resolver=lambda host, port: next(answers))
    monkeypatch.setattr(fetch_http, "is_public", lambda address: address == "127.0.0.1")
    with server(lambda handler: hits.append(1) or send(handler, 302, Location="/again")) as port:
        monkeypatch.setattr(fetch_http, "PORTS", {port})
        error = refused(f"http://rebind.test:{port}/", dest, policy)
    assert error.reason == "the host is not on the public internet"
    assert len(hits) == 1


@pytest.mark.parametrize(
    "uri", ["https://127.0.0.1\\@8.8.8.8/", "https://127.0.0.1#@8.8.8.8/", "https://8.8.8.8\t@127.0.0.1/"]
)
def test_what_two_parsers_may_read_in_two_ways_leads_nowhere_inside(uri: str, dest: Path) -> None:
    asked: list[str] = []

    def resolver(host: str, port: int) -> list[str]:
        asked.append(host)
        return ["127.0.0.1"]

    assert refused(uri, dest, FetchPolicy(resolver=resolver)).outcome == "unsupported"


def test_each_redirect_is_checked(dest: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first host counts as public here; where it leads to is inside."""
    hits = []
    hosts = {"first.test": ["127.0.0.1"], "inside.test": ["127.0.0.2"]}
    policy = FetchPolicy(allow_http=True, file_roots=(root,), resolver=lambda host, port: hosts[host])
    monkeypatch.setattr(fetch_http, "is_public", lambda address: address == "127.0.0.1")
    with server(lambda handler: hits.append(1) or send(handler), host="127.0.0.2") as inner:
        targets = ["file:///etc/passwd", f"{root.as_uri()}/a%20clip.mp4", "ftp://first.test/", "http://["]
        for target in [f"http://inside.test:{inner}/", f"http://127.0.0.2:{inner}/", *targets]:

            def answer(handler: BaseHTTPRequestHandler, target: str = target) -> None:
                send(handler, 302, Location=target)

            with server(answer) as outer:
                monkeypatch.setattr(fetch_http, "PORTS", {inner, outer})
                assert refused(f"http://first.test:{outer}/", dest, policy).outcome == "unsupported"
    assert hits == []


def test_redirects_are_followed_but_not_for_ever(dest: Path) -> None:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        left = int(handler.path.strip("/"))
        send(handler, body=b"there") if left == 0 else send(handler, 307, Location=f"/{left - 1}")

    with server(answer) as port:
        assert fetch(f"http://media.test:{port}/3", dest, LOCAL).bytes == 5
        (dest / "media").unlink()
        assert "redirects" in refused(f"http://media.test:{port}/4", dest, LOCAL).reason


@pytest.mark.parametrize(
    ("status", "kind"),
    [(404, "unsupported"), (410, "unsupported"), (401, "unsupported"), (403, "unsupported"), (204, "unsupported"),
     (418, "unsupported"), (206, "unsupported"), (429, None), (500, None), (502, None), (503, None)],
)  # fmt: skip
def test_statuses(status: int, kind: str | None, dest: Path) -> None:
    with server(lambda handler: send(handler, status)) as port:
        uri = f"http://media.test:{port}/secret-path?token=s3cret"
        if kind is None:
            with pytest.raises(FetchUnavailable) as failure:
                fetch(uri, dest, LOCAL)
            assert "s3cret" not in str(failure.value)
        else:
            error = refused(uri, dest, LOCAL)
            assert error.outcome == kind and "s3cret" not in error.reason


def test_too_large_by_its_own_word_and_by_what_comes(dest: Path) -> None:
    policy = FetchPolicy(allow_http=True, allow_private=True, resolver=LOCAL.resolver, max_bytes=1000)
    sent = []

    def honest(handler: BaseHTTPRequestHandler) -> None:
        send(handler, Content_Length="1001")
        sent.append(1)

    def endless(handler: BaseHTTPRequestHandler) -> None:
        send(handler)
        for _ in range(100):
            handler.wfile.write(bytes(1000))

    for answer in (honest, endless):
        with server(answer) as port:
            assert refused(f"http://media.test:{port}/", dest, policy).outcome == "too_large"


def test_a_server_that_dribbles_is_cut_off(dest: Path) -> None:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        send(handler)
        for _ in range(200):
            handler.wfile.write(b"x")
            handler.wfile.flush()
            time.sleep(0.05)

    policy = FetchPolicy(allow_http=True, allow_private=True, resolver=LOCAL.resolver, deadline_s=0.6)
    start = time.monotonic()
    with server(answer) as port:
        assert refused(f"http://media.test:{port}/", dest, policy).outcome == "timeout"
    assert time.monotonic() - start < 3


@pytest.mark.parametrize("part", ["status line", "headers", "trailing"])
def test_a_server_that_dribbles_before_its_answer_is_cut_off(part: str, dest: Path) -> None:
    """Each byte comes long before any timeout between bytes."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        head = {
            "status line": b"H",
            "headers": b"HTTP/1.1 200 OK\r\nX-",
            "trailing": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;",
        }[part]
        handler.wfile.write(head)
        for _ in range(100):
            handler.wfile.write(b"x")
            handler.wfile.flush()
            time.sleep(0.05)

    policy = FetchPolicy(allow_http=True, allow_private=True, resolver=LOCAL.resolver, deadline_s=0.6)
    start = time.monotonic()
    with server(answer) as port:
        with pytest.raises((MediaError, FetchUnavailable)) as failure:
            fetch(f"http://media.test:{port}/", dest, policy)
        # What starts like no HTTP at all may be told as that.
        assert part == "status line" or failure.value.outcome == "timeout"
    assert time.monotonic() - start < 3


def test_a_part_of_a_file_is_not_taken_for_it(dest: Path) -> None:
    def short(handler: BaseHTTPRequestHandler) -> None:
        send(handler, 206, body=b"half", Content_Range="bytes 0-3/100", Content_Length="4")

    with server(short) as port:
        assert "206" in refused(f"http://media.test:{port}/", dest, LOCAL).reason

    def torn(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
        handler.connection.shutdown(socket.SHUT_RDWR)

    with server(torn) as port, pytest.raises(FetchUnavailable):
        fetch(f"http://media.test:{port}/", dest, LOCAL)
    assert list(dest.iterdir()) == []


def test_what_may_work_later_is_told_apart(dest: Path) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    with pytest.raises(FetchUnavailable):
        fetch(f"http://media.test:{port}/", dest, LOCAL)

    def cut(handler: BaseHTTPRequestHandler) -> None:
        send(handler, Content_Length="100", body=b"half")
        handler.connection.shutdown(socket.SHUT_RDWR)

    with server(cut) as port, pytest.raises(FetchUnavailable):
        fetch(f"http://media.test:{port}/", dest, LOCAL)

    def again(host: str, port: int) -> list[str]:
        raise socket.gaierror(socket.EAI_AGAIN, "try again")

    with pytest.raises(FetchUnavailable):
        fetch("https://media.test/", dest, FetchPolicy(resolver=again))

    def slow(host: str, port: int) -> list[str]:
        time.sleep(5)
        return []

    with pytest.raises(FetchUnavailable):
        fetch("https://media.test/", dest, FetchPolicy(resolver=slow, deadline_s=0.2))

    def never(host: str, port: int) -> list[str]:
        raise socket.gaierror(socket.EAI_NONAME, "no such name")

    assert refused("https://media.test/", dest, FetchPolicy(resolver=never)).outcome == "unsupported"
    assert list(dest.iterdir()) == []


def test_a_compressed_answer_is_refused(dest: Path) -> None:
    with server(lambda handler: send(handler, body=b"bomb", Content_Encoding="gzip")) as port:
        assert "compresses" in refused(f"http://media.test:{port}/", dest, LOCAL).reason


def test_http_and_odd_ports_need_leave(dest: Path) -> None:
    public = FetchPolicy(resolver=lambda host, port: ["8.8.8.8"])
    assert "https" in refused("http://media.test/", dest, public).reason
    assert "port" in refused("https://media.test:6379/", dest, public).reason


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate for media.test, with its key."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl command to make a certificate with")
    file = tmp_path_factory.mktemp("tls") / "both.pem"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=media.test"
    made = subprocess.run(
        [*command.split(), "-addext", "subjectAltName=DNS:media.test", "-keyout", "-", "-out", "-"],
        capture_output=True,
        check=True,
    )
    file.write_bytes(made.stdout)
    return file


def test_the_certificate_must_be_the_names(certificate: Path, dest: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)

    def policy(ca_file: Path | None) -> FetchPolicy:
        return FetchPolicy(allow_private=True, resolver=LOCAL.resolver, ca_file=ca_file)

    with server(lambda handler: send(handler, body=BODY), context) as port:
        for uri, trusted in ((f"https://media.test:{port}/", None), (f"https://other.test:{port}/", certificate)):
            error = refused(uri, dest, policy(trusted))
            assert error.reason == "the server's certificate is not valid"
        assert fetch(f"https://media.test:{port}/", dest, policy(certificate)).bytes == len(BODY)


# --- object stores ---


def memory(**options: object) -> FetchPolicy:
    roots = {"object_roots": ("memory://bucket",)}
    return FetchPolicy(object_schemes=frozenset({"memory"}), **{**roots, **options})  # type: ignore[arg-type]


def test_objects_are_streamed_through_fsspec(dest: Path) -> None:
    import fsspec

    fsspec.filesystem("memory").pipe("/bucket/clip.mp4", BODY)
    assert fetch("memory://bucket/clip.mp4", dest, memory()).sha256 == hashlib.sha256(BODY).hexdigest()
    (dest / "media").unlink()
    assert refused("memory://bucket/none", dest, memory()).reason == "there is no such object"
    assert refused("memory://bucket/clip.mp4", dest, memory(max_bytes=10)).outcome == "too_large"
    assert refused("memory://bucket/clip.mp4", dest, FetchPolicy()).outcome == "unsupported"


@pytest.mark.parametrize(
    "uri", ["other/clip.mp4", "bucket-2/clip.mp4", "bucket/../other/clip.mp4", "bucket/a//b", "bucket", "bucket/", ""]
)
def test_only_objects_under_the_roots_are_read(uri: str, dest: Path) -> None:
    assert "settings allow" in refused(f"memory://{uri}", dest, memory()).reason
    assert "no bucket" in refused(f"memory://{uri}", dest, memory(object_roots=())).reason


@pytest.fixture(scope="module")
def s3() -> Iterator[dict[str, object]]:
    """Options for a real S3 API server, with a bucket of ours and one of somebody else's."""
    pytest.importorskip("s3fs")
    moto = pytest.importorskip("moto.server")
    import fsspec

    running = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    running.start()
    host, port = running.get_host_and_port()
    options = {"endpoint_url": f"http://{host}:{port}", "key": "k", "secret": "s", "use_listings_cache": False}
    system = fsspec.filesystem("s3", **options)
    for bucket in ("uploads", "private"):
        system.mkdir(bucket)
        system.pipe(f"{bucket}/a folder/clip é.mp4", BODY)
    yield options
    running.stop()


def test_s3_objects_are_read_from_a_real_server(s3: dict[str, object], dest: Path) -> None:
    policy = FetchPolicy(object_roots=("s3://uploads",), object_options={"s3": s3})
    fetched = fetch("s3://uploads/a folder/clip é.mp4", dest, policy)
    assert fetched.sha256 == hashlib.sha256(BODY).hexdigest() and fetched.path.read_bytes() == BODY
    (dest / "media").unlink()
    assert refused("s3://uploads/none.mp4", dest, policy).reason == "there is no such object"
    assert refused("s3://nowhere/none.mp4", dest, policy).outcome == "unsupported"
    assert "settings allow" in refused("s3://private/a folder/clip é.mp4", dest, policy).reason
    small = FetchPolicy(object_roots=("s3://uploads",), object_options={"s3": s3}, max_bytes=100)
    assert refused("s3://uploads/a folder/clip é.mp4", dest, small).outcome == "too_large"


def test_an_s3_server_that_is_away_may_come_back(dest: Path) -> None:
    pytest.importorskip("s3fs")
    options = {
        "endpoint_url": "http://127.0.0.1:1",
        "key": "k",
        "secret": "s",
        "config_kwargs": {"retries": {"max_attempts": 0}},
    }
    policy = FetchPolicy(object_roots=("s3://uploads",), object_options={"s3": options})
    with pytest.raises(FetchUnavailable) as failure:
        fetch("s3://uploads/x.mp4", dest, policy)
    assert "127.0.0.1" not in str(failure.value)


def test_a_missing_object_store_library_is_told(dest: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import fsspec

    def missing(*_: object, **__: object) -> None:
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr(fsspec, "filesystem", missing)
    policy = FetchPolicy(object_roots=("s3://bucket",))
    assert "pip install s3fs" in refused("s3://bucket/clip.mp4", dest, policy).reason
