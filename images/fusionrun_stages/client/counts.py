"""Counts and throughput of a generation."""

import time
from collections import deque
from dataclasses import dataclass, field

from fusionrun.api.models import Prices
from fusionrun.api.records import Response
from fusionrun_stages.client.quota import QuotaShare, cost_micro

RATE_SECONDS = 10.0
"""Window of the recent throughput."""


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
        """Return the cost of the stored rows in millionths."""
        return cost_micro(prices, self.prompt_tokens, self.completion_tokens)

    def check_quota(self, share: QuotaShare, prices: Prices | None) -> str:
        """Return the field of the quota that is used up, empty if there is none."""
        tokens = self.prompt_tokens + self.completion_tokens
        self.quota_exceeded = self.quota_exceeded or share.exceeded(self.requested, tokens, self.cost_micro(prices))
        return self.quota_exceeded


@dataclass
class Throughput:
    """Completion tokens per second, recent and overall."""

    start: float = field(default_factory=time.monotonic)
    tokens: int = 0
    marks: deque[tuple[float, int]] = field(default_factory=deque)

    def add(self, tokens: int) -> None:
        """Count tokens that were received now."""
        self.tokens += tokens
        now = time.monotonic()
        self.marks.append((now, self.tokens))
        while self.marks[0][0] < now - RATE_SECONDS:
            self.marks.popleft()

    @property
    def recent(self) -> float:
        """Tokens per second over the last ``RATE_SECONDS``."""
        now, (then, before) = time.monotonic(), self.marks[0] if self.marks else (self.start, 0)
        return (self.tokens - before) / (now - then) if now > then else 0.0

    @property
    def mean(self) -> float:
        """Tokens per second since the start."""
        return self.tokens / max(time.monotonic() - self.start, 1e-9)
