"""How often a client may come."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable

_MOST_CLIENTS = 10_000


class RateLimit:
    """A token bucket per client: a minute's worth at once, then as many as flow in.

    >>> now = [0.0]
    >>> limit = RateLimit(2, clock=lambda: now[0])
    >>> [limit.allows("10.0.0.1") for _ in range(3)], limit.allows("10.0.0.2")
    ([True, True, False], True)
    >>> now[0] = 30.0
    >>> limit.allows("10.0.0.1"), limit.allows("10.0.0.1")
    (True, False)
    """

    def __init__(self, per_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._capacity = float(per_minute)
        self._clock = clock
        self._lock = threading.Lock()
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def allows(self, client: str) -> bool:
        """Whether this client may come now; it has come then."""
        with self._lock:
            now = self._clock()
            level, since = self._buckets.pop(client, (self._capacity, now))
            level = min(self._capacity, level + (now - since) * self._capacity / 60)
            allowed = level >= 1
            self._buckets[client] = (level - allowed, now)
            if len(self._buckets) > _MOST_CLIENTS:
                self._buckets.popitem(last=False)
            return allowed
