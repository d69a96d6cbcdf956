"""Bring an upload's bytes into its scratch folder, from where the message says, and from nowhere else.

An upload's URI comes from outside. It must not become a way to read the farm's own files or to reach its own network
(server-side request forgery), nor fill its disk or hold its threads.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from media.fetch_policy import Budget, FetchPolicy, FetchUnavailable
from media.types import MediaError

CHUNK_BYTES = 1 << 20
MEDIA_FILE = "media"
"""Name of the fetched file in its folder: nothing of the URI gets into a path."""


@dataclass(frozen=True)
class FetchedMedia:
    """A file in scratch."""

    path: Path
    sha256: str
    bytes: int


def fetch(uri: str, dest: Path, policy: FetchPolicy) -> FetchedMedia:
    """Fetch `uri` into the folder `dest`.

    Raises:
        MediaError: `unsupported` (not found, not allowed; the reason says what would mend it), `too_large`, `timeout`.
        FetchUnavailable: it may work later.
    """
    try:
        scheme = urlsplit(uri).scheme.lower()
    except ValueError:
        raise MediaError("unsupported", "the media URI is malformed") from None
    budget = Budget(policy)
    target = dest / MEDIA_FILE
    if scheme == "file":
        return _fetch_file(uri, target, policy, budget)
    if scheme in {"https", "http"}:
        from media.fetch_http import download

        return save(download(uri, policy, budget), target, budget)
    if scheme in policy.object_schemes:
        _check_object(uri, policy)
        return save(_read_object(uri, scheme, policy, budget), target, budget)
    raise MediaError("unsupported", f"media URIs of scheme {scheme[:20]!r} are not read; use file, https or s3")


def save(chunks: Iterable[bytes], target: Path, budget: Budget) -> FetchedMedia:
    """Write what comes to `target`, within the budget. A failure leaves no file."""
    digest = hashlib.sha256()
    size = 0
    try:
        with target.open("xb") as file:
            for chunk in chunks:
                size += len(chunk)
                budget.check_size(size)
                budget.left_s()
                digest.update(chunk)
                file.write(chunk)
    except BaseException:
        target.unlink(missing_ok=True)
        raise
    return FetchedMedia(target, digest.hexdigest(), size)


def _fetch_file(uri: str, target: Path, policy: FetchPolicy, budget: Budget) -> FetchedMedia:
    parts = urlsplit(uri)
    path = unquote(parts.path)
    if parts.netloc not in {"", "localhost"} or "\0" in path:
        raise MediaError("unsupported", "a file URI must name a file on this machine: file:///folder/file")
    if not policy.file_roots:
        raise MediaError("unsupported", "local files are not read here: no folder is allowed in the settings")
    fd = _open_under(Path(path), policy.file_roots)
    try:
        size = os.fstat(fd).st_size
        budget.check_size(size)
        if _link(fd, target):
            return _hashed(fd, target, budget)
        return save(_chunks(lambda: os.read(fd, CHUNK_BYTES)), target, budget)
    finally:
        os.close(fd)


def _open_under(path: Path, roots: Iterable[Path]) -> int:
    """A descriptor of the regular file at `path`, which lies under one of the roots, all links followed.

    The path is judged by what was opened, not by its name, so nothing can be swapped in between.
    """
    try:
        # Without blocking: a named pipe would wait for a writer.
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    except (FileNotFoundError, NotADirectoryError):
        raise MediaError("unsupported", "there is no such file") from None
    except OSError as error:
        raise MediaError("unsupported", f"the file cannot be read: {error.strerror}") from None
    try:
        opened = Path(f"/proc/self/fd/{fd}").readlink()
        if not any(opened.is_relative_to(root.resolve()) for root in roots):
            raise MediaError("unsupported", "the file is not in a folder that the settings allow")
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise MediaError("unsupported", "it is not a regular file")
    except BaseException:
        os.close(fd)
        raise
    return fd


def _link(fd: int, target: Path) -> bool:
    """Give the opened file itself a second name in scratch; False where that cannot be (another file system, rights).

    So what is decoded is what was checked, and nothing is copied.
    """
    try:
        # By folder descriptor, since only then does Python ask the kernel to follow the link that leads to the file.
        folder = os.open("/proc/self/fd", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        os.link(str(fd), target, src_dir_fd=folder, follow_symlinks=True)
    except OSError:
        return False
    finally:
        os.close(folder)
    return True


def _hashed(fd: int, target: Path, budget: Budget) -> FetchedMedia:
    digest = hashlib.sha256()
    size = 0
    try:
        for chunk in _chunks(lambda: os.read(fd, CHUNK_BYTES)):
            size += len(chunk)
            budget.check_size(size)
            budget.left_s()
            digest.update(chunk)
    except BaseException:
        target.unlink(missing_ok=True)
        raise
    return FetchedMedia(target, digest.hexdigest(), size)


def _chunks(read: Callable[[], bytes]) -> Iterable[bytes]:
    while chunk := read():
        yield chunk


def _check_object(uri: str, policy: FetchPolicy) -> None:
    if not policy.object_roots:
        raise MediaError("unsupported", "objects are not read here: no bucket is allowed in the settings")
    scheme, _, path = uri.partition("://")
    wanted = f"{scheme.lower()}://{path}"
    if {"", ".", ".."} & set(path.split("/")) or not any(
        wanted.startswith(f"{root.rstrip('/')}/") for root in policy.object_roots
    ):
        raise MediaError("unsupported", "the object is not in a bucket or folder that the settings allow")


def _read_object(uri: str, scheme: str, policy: FetchPolicy, budget: Budget) -> Iterable[bytes]:
    import fsspec

    try:
        system = fsspec.filesystem(scheme, **policy.object_options.get(scheme, {}))
        path = system._strip_protocol(uri)
        budget.check_size(int(system.info(path).get("size") or 0))
        with system.open(path, "rb", block_size=8 * CHUNK_BYTES, cache_type="readahead") as file:
            while chunk := file.read(CHUNK_BYTES):
                yield chunk
    except MediaError:
        raise
    except ImportError:
        raise MediaError("unsupported", f"{scheme}:// needs a package here: pip install {scheme}fs") from None
    except FileNotFoundError:
        raise MediaError("unsupported", "there is no such object") from None
    except PermissionError:
        raise MediaError("unsupported", "the object store refuses access: check the farm's credentials") from None
    except Exception as error:  # each library has its own for a store that is away, and they share no base
        raise FetchUnavailable(f"the object store did not answer: {type(error).__name__}") from error
