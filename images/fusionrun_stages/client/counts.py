"""Counts, throughput, cost and quota of a generation."""

import math
import time
from collections import deque
from dataclasses import dataclass, field

from fusionrun.api.models import Prices, Quota
from fusionrun.api.records import MICRO, Response

RATE_SECONDS = 10.0
"""Window of the recent throughput."""


@dataclass(frozen=True)
class QuotaShare:
    """The share of a quota for one shard."""

    requests: int | None = None
    tokens: int | None = None
    cost_micro: int | None = None

    @classmethod
    def of(cls, quota: Quota | None, shards: int, shard: int) -> "QuotaShare":
        """Divide a quota so that the shares of all shards add up to it."""
        if quota is None:
            return cls()
        cost = None if quota.max_cost is None else math.floor(quota.max_cost * MICRO)
        limits = (quota.max_requests, quota.max_tokens, cost)
        return cls(*(None if n is None else (n + shards - 1 - shard) // shards for n in limits))

    def exceeded(self, requests: int, tokens: int, cost: int) -> str:
        """Return the field of the quota that is used up; empty if there is none.

        ``requests``: samples stored, in flight and next; ``tokens`` and ``cost`` (in millionths): of stored samples.
        """
        if self.requests is not None and requests > self.requests:
            return f"maxRequests: {self.requests} of this shard"
        if self.tokens is not None and tokens >= self.tokens:
            return f"maxTokens: {self.tokens} of this shard"
        if self.cost_micro is not None and cost >= self.cost_micro:
            return f"maxCost: {self.cost_micro / MICRO:g} of this shard"
        return ""


@dataclass
class ResponseCounts:
    """Rows of the shard that this pod and its predecessors have stored."""

    rows: int = 0
    answered: int = 0
    rejected: int = 0
    """Requests with a 4xx reply."""
    truncated: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    last_error: str = ""
    requested: int = 0
    """Samples stored or in flight."""
    quota_exceeded: str = ""
    """Field of the quota that is used up."""

    def add(self, row: Response) -> None:
        """Count one row."""
        self.rows += 1
        self.answered += row.error is None
        self.rejected += (row.error or "").startswith("4")
        self.truncated += row.finish_reason == "length"
        self.prompt_tokens += row.prompt_tokens
        self.completion_tokens += row.completion_tokens
        self.last_error = row.error or self.last_error

    def cost_micro(self, prices: Prices | None) -> int:
        """Return the cost of the stored rows in millionths: prices are per million tokens."""
        if prices is None:
            return 0
        return round(self.prompt_tokens * prices.prompt + self.completion_tokens * prices.completion)

    def check_quota(self, share: QuotaShare, prices: Prices | None) -> str:
        """Return the field of the quota that is used up; empty if there is none."""
        tokens = self.prompt_tokens + self.completion_tokens
        self.quota_exceeded = self.quota_exceeded or share.exceeded(self.requested, tokens, self.cost_micro(prices))
        return self.quota_exceeded


@dataclass
class Throughput:
    """Completion tokens per second, recent and overall."""

    start: float = field(default_factory=time.monotonic)
    tokens: int = 0
    history: deque[tuple[float, int]] = field(default_factory=deque)
    """Times and token counts within ``RATE_SECONDS``."""

    def add(self, tokens: int) -> None:
        """Count received tokens."""
        self.tokens += tokens
        now = time.monotonic()
        self.history.append((now, self.tokens))
        while self.history[0][0] < now - RATE_SECONDS:
            self.history.popleft()

    @property
    def recent(self) -> float:
        """Tokens per second over the last ``RATE_SECONDS``."""
        start, tokens = self.history[0] if self.history else (self.start, 0)
        seconds = time.monotonic() - start
        return (self.tokens - tokens) / seconds if seconds > 0 else 0.0

    @property
    def mean(self) -> float:
        """Tokens per second since the start."""
        return self.tokens / max(time.monotonic() - self.start, 1e-9)
