"""The Valkey transport without the moment in which a message is nowhere but in a node's memory.

Kombu's pops a message (BRPOP), and writes it among the unacknowledged ones when the answer has come: a node that is
killed in between takes it along, and nobody can know that it was ever sent. Here one script does both, so that
whatever happens to the node, the message comes back after the visibility timeout. A script cannot wait for a message;
so a node that found none waits, with a BRPOP on a key that is never filled, and then looks again.
"""

from __future__ import annotations

from queue import Empty
from time import monotonic, time
from typing import Any

from kombu.transport import TRANSPORT_ALIASES, redis
from kombu.utils.encoding import bytes_to_str
from kombu.utils.json import loads

LOOK_AGAIN_S = 0.2
"""How long a node that found no message waits before it looks again."""
FLOOR = 8
"""Every so many messages the queues are asked in reverse order."""
NEVER = "tagfarm:never"
"""The key that is never filled."""

TAKE = """
local payload, from
for place = 3, #KEYS do
  payload = redis.call('RPOP', KEYS[place])
  if payload then from = place - 2 break end
end
if not payload then return false end
if ARGV[from + 1] == '1' then
  local read, tag, noted = pcall(function()
    local properties = cjson.decode(payload).properties
    local sent = properties.delivery_info
    local way = cjson.encode(sent.exchange) .. ',' .. cjson.encode(sent.routing_key)
    return properties.delivery_tag, '[' .. payload .. ',' .. way .. ']'
  end)
  if read and type(tag) == 'string' then
    redis.call('HSET', KEYS[2], tag, noted)
    redis.call('ZADD', KEYS[1], ARGV[1], tag)
  end
end
return {from, payload}
"""
"""KEYS: the unacknowledged by time, the unacknowledged, then the lists in the order in which they are served.
ARGV: the time, then for each list whether its messages are acknowledged at all. Answers the list's place and the
message. It pops first: a full server refuses a script that would begin by writing more, but not one that goes on."""


class Channel(redis.Channel):
    """A channel that pops a message and notes it as unacknowledged in one step."""

    _in_poll: Any
    _brpop_sent_at: Any

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._unacknowledged: set[str] = set()
        self._lists: list[str] = []
        self._asked = ""
        self._look = True
        self._taken = 0

    def basic_consume(self, queue: str, no_ack: bool, *args: Any, **kwargs: Any) -> Any:
        """Consume from a queue, and remember whether its messages will be acknowledged."""
        (self._unacknowledged.discard if no_ack else self._unacknowledged.add)(queue)
        return super().basic_consume(queue, no_ack, *args, **kwargs)

    def _brpop_start(self, timeout: float | None = None) -> None:
        queues = self._queue_cycle.consume(len(self.active_queues))
        if not queues:
            return
        connection = self.client.connection
        self._in_poll = connection
        self._brpop_sent_at = monotonic()
        if self._look:
            if self._taken % FLOOR == FLOOR - 1:  # now and then from behind, so that the last queue never starves
                queues = [*reversed(queues)]
            self._lists = [self._q_for_pri(queue, priority) for priority in self.priority_steps for queue in queues]
            noted = [int(queue in self._unacknowledged) for _ in self.priority_steps for queue in queues]
            keys = [f"{self.global_keyprefix}{key}" for key in (self.unacked_index_key, self.unacked_key, *self._lists)]
            self._asked = "EVAL"
            connection.send_command("EVAL", TAKE, len(keys), *keys, time(), *noted)
        else:
            self._asked = "BRPOP"
            connection.send_command("BRPOP", f"{self.global_keyprefix}{NEVER}", LOOK_AGAIN_S)

    def _brpop_read(self, **options: Any) -> bool:
        try:
            try:
                found = self.client.parse_response(self.client.connection, self._asked, **options)
            except self.connection_errors:
                self.client.connection.disconnect()  # the next round connects anew
                self._look = True
                raise
            self._look = self._asked == "BRPOP" or bool(found)
            if self._asked == "BRPOP" or not found:
                raise Empty
            place, payload = found
            self._taken += 1
            queue = self._lists[place - 1].rsplit(self.sep, 1)[0]
            self._queue_cycle.rotate(queue)
            self.connection._deliver(loads(bytes_to_str(payload)), queue)
            return True
        finally:
            self._in_poll = None
            self._flush_brpop_reauth()

    def _poll_error(self, type: str, **options: Any) -> None:
        if type == "LISTEN":
            self.subclient.parse_response()
        else:
            self.client.parse_response(self.client.connection, self._asked)


class Transport(redis.Transport):
    """Kombu's, with the channel above."""

    Channel = Channel


def give_back(channel: Any) -> int:
    """Put back into its queue what a channel took and has not acknowledged, from any thread. Returns how many.

    For a process that is about to end without closing its connection; RabbitMQ does this by itself.
    """
    qos = getattr(channel, "qos", None)
    if not isinstance(qos, redis.QoS):
        return 0
    tags = tuple(qos._delivered.copy())
    for tag in tags:
        qos.restore_by_tag(tag, leftmost=False)
    return len(tags)


def install() -> None:
    """Have this process's Celery use it for `redis://` and `rediss://`."""
    name = f"{Transport.__module__}:{Transport.__qualname__}"
    TRANSPORT_ALIASES.update(redis=name, rediss=name)
