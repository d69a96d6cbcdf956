"""The feed pushed to a Valkey (or Redis) stream.

Entry ids are the feed's own cursors (`CURSOR-0`), and a stream takes only ids greater than its last. So any number of
pushers may run, crash and repeat themselves: the stream has each event once, in the feed's order, with no gap.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from redis import Redis, ResponseError

from store.columns import dumps
from store.errors import StoreError
from store.feed import Feed, FeedEvent

PAGE = 200
"""Events in one transaction of the stream."""
MAX_LENGTH = 100_000
"""Entries that the stream keeps, about. A reader that was away longer goes on from the feed itself."""

_TAKEN = "equal or smaller than the target stream top item"
_NO_STREAM = "no such key"


class StreamForeign(StoreError):
    """The stream holds events that this store's feed has not come to: it is another store's, or of a lost one."""


class StreamPusher:
    """Copies events to a stream as they come.

    Args:
        store: whose feed it is.
        client: of redis-py, or one like it.
        stream: the stream's key.
        max_length: entries that the stream keeps, about.

    Fields of an entry: `cursor`, `event`, `upload_id`, `at` (ISO 8601) and `document` (JSON).
    """

    def __init__(self, store: Feed, client: Redis, stream: str, max_length: int = MAX_LENGTH) -> None:
        self._store = store
        self._client = client
        self._stream = stream
        self._max_length = max_length
        self.consumer = f"stream:{stream}"

    def push(self) -> int:
        """Copy what the stream has not. Returns how many events were added.

        Raises:
            StreamForeign: see there; rename or delete the stream.
            redis.RedisError, StoreUnavailable: try again later; nothing is lost or doubled.
        """
        last = self._last()
        head = self._store.feed_head()  # read after the stream: what is in the stream is in the feed
        if last > head:
            raise StreamForeign(
                f"stream {self._stream} is at {last}, but this store's feed is at {head}: it was filled from another "
                "store. Delete it, or set another name"
            )
        # A stream that is new, or lost what it had, gets as much of the feed as it may keep.
        after = max(last, head - self._max_length)
        added = 0
        while after < head and (events := self._store.feed(after, PAGE)):
            added += self._add(events)
            after = events[-1].cursor
            self._store.advance(self.consumer, after)
        return added

    def _last(self) -> int:
        """The last cursor that the stream ever held; trimming and deleting entries does not change it."""
        try:
            info: Any = self._client.xinfo_stream(self._stream)
        except ResponseError as error:
            if _NO_STREAM in str(error):
                return 0
            raise
        entry_id = info["last-generated-id"]
        text = entry_id.decode() if isinstance(entry_id, bytes) else str(entry_id)
        return int(text.split("-")[0])

    def _add(self, events: Iterable[FeedEvent]) -> int:
        with self._client.pipeline(transaction=True) as pipeline:
            for event in events:
                fields: dict[Any, Any] = {
                    "cursor": event.cursor,
                    "event": event.event,
                    "upload_id": event.upload_id,
                    "at": event.at.isoformat(),
                    "document": dumps(event.document),
                }
                entry_id = f"{event.cursor}-0"
                pipeline.xadd(self._stream, fields, id=entry_id, maxlen=self._max_length, approximate=True)
            answers = pipeline.execute(raise_on_error=False)
        errors = [answer for answer in answers if isinstance(answer, Exception)]
        for error in errors:
            if _TAKEN not in str(error):
                raise error
        return len(answers) - len(errors)
