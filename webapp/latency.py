"""How long predictions took: serving's own histogram, between two reads of it."""

import math
import re
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import pairwise

WINDOW = timedelta(minutes=5)
# Fewer say nothing of their slowest hundredth.
FEWEST_REQUESTS = 100

_BUCKET = re.compile(
    r'^boucle_http_request_seconds_bucket\{(?=[^}]*route="/predict")[^}]*le="([^"]+)"[^}]*\} (\S+)', re.MULTILINE
)

Buckets = tuple[tuple[float, float], ...]  # (upper bound in seconds, requests up to it), both rising


@dataclass(frozen=True)
class Reading:
    """The histogram as it stood at a moment."""

    at: datetime
    buckets: Buckets

    @property
    def requests(self) -> int:
        return int(self.buckets[-1][1]) if self.buckets else 0


@dataclass(frozen=True)
class Latency:
    """Of so many requests the median and the 99th percentile; ``seconds`` is the time they came in, if it is known."""

    requests: int
    p50: float
    p99: float
    seconds: float | None


@dataclass
class Readings:
    """The last few minutes of readings, oldest first."""

    kept: deque[Reading] = field(default_factory=deque)

    def add(self, reading: Reading) -> None:
        if self.kept and reading.requests < self.kept[-1].requests:
            self.kept.clear()  # serving was started anew
        self.kept.append(reading)
        while len(self.kept) > 2 and self.kept[1].at <= reading.at - WINDOW:
            self.kept.popleft()

    def latency(self) -> Latency | None:
        """Of the requests since the oldest reading; when these are few, of all since serving was started."""
        if not self.kept or not self.kept[-1].requests:
            return None
        first, last = self.kept[0], self.kept[-1]
        if last.requests - first.requests < FEWEST_REQUESTS:
            return _latency(last.buckets, None)
        before = dict(first.buckets)
        recent = tuple((bound, count - before.get(bound, 0.0)) for bound, count in last.buckets)
        return _latency(recent, (last.at - first.at).total_seconds())

    def came_after(self, moment: datetime) -> bool:
        """Whether predictions were answered between two readings that were both taken later."""
        later = [reading.requests for reading in self.kept if reading.at > moment]
        return len(later) > 1 and later[-1] > later[0]


def parse(exposition: str) -> Buckets:
    """The cumulative buckets of ``POST /predict`` in Prometheus' text; empty before its first request."""
    return tuple(sorted((float(bound), float(count)) for bound, count in _BUCKET.findall(exposition)))


def quantile(buckets: Sequence[tuple[float, float]], share: float) -> float:
    """As Prometheus' histogram_quantile: linear within its bucket, and the last finite bound beyond that."""
    rank = share * buckets[-1][1]
    for (low, below), (high, up_to) in pairwise([(0.0, 0.0), *buckets]):
        if up_to >= rank and up_to > below:
            return low if math.isinf(high) else low + (high - low) * (rank - below) / (up_to - below)
    return buckets[-1][0]


def _latency(buckets: Buckets, seconds: float | None) -> Latency:
    return Latency(int(buckets[-1][1]), quantile(buckets, 0.5), quantile(buckets, 0.99), seconds)
