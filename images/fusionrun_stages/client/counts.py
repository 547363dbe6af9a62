"""Counts, throughput, cost and quota of the requests of a shard."""

import math
import time
from collections import deque
from dataclasses import dataclass, field

from fusionrun.api.evaluation_records import Judgement
from fusionrun.api.records import MICRO, Response
from fusionrun.api.spec.endpoints import Prices, Quota

RATE_SECONDS = 10.0
"""Window of the recent throughput."""
USELESS_MAX = 64
"""Number of samples, all rejected or without a text, after which the stage stops."""
NO_LOGPROBS = "{}"
"""``Judgement.logprobs`` of a reply without the log-probabilities that were requested."""
BLANK_PROMPTS_MAX = 8
"""Number of prompts, all answered without a text, from which the server is at fault and not the prompts."""


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

    def left(self, requests: int, tokens: int, cost: int) -> dict[str, float]:
        """Return the part of each limit that is not used up, 0 to 1, by its field. ``requests``: stored samples."""
        used = {
            "maxRequests": (requests, self.requests),
            "maxTokens": (tokens, self.tokens),
            "maxCost": (cost, self.cost_micro),
        }
        return {
            field: max(0.0, 1 - n / limit) if limit else 0.0 for field, (n, limit) in used.items() if limit is not None
        }


@dataclass
class RequestCounts:
    """Rows of the shard that this pod and its predecessors have stored."""

    rows: int = 0
    answered: int = 0
    rejected: int = 0
    """Requests with a 4xx reply."""
    truncated: int = 0
    blank: int = 0
    """Answered without a text."""
    blank_truncated: int = 0
    """Blank and truncated."""
    blank_prompts: set[str] = field(default_factory=set)
    """Prompts with a blank row, at most ``BLANK_PROMPTS_MAX``."""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    last_error: str = ""
    requested: int = 0
    """Rows stored or in flight."""
    quota_exceeded: str = ""
    """Field of the quota that is used up."""

    def count(self, row: Response | Judgement, *, is_blank: bool) -> None:
        """Count one row; ``is_blank``: answered without anything that can be used."""
        self.rows += 1
        self.answered += row.error is None
        self.rejected += (row.error or "").startswith("4")
        self.truncated += row.finish_reason == "length"
        self.prompt_tokens += row.prompt_tokens
        self.completion_tokens += row.completion_tokens
        self.last_error = row.error or self.last_error
        if is_blank:
            self.blank += 1
            self.blank_truncated += row.finish_reason == "length"
            if len(self.blank_prompts) < BLANK_PROMPTS_MAX:
                self.blank_prompts.add(row.prompt_id)

    @property
    def has_no_text(self) -> bool:
        """Whether every reply is blank, to so many prompts that the server is at fault."""
        return self.blank == self.answered and len(self.blank_prompts) >= BLANK_PROMPTS_MAX

    @property
    def is_hopeless(self) -> bool:
        """Whether the first rows show that all other requests would be rejected or have no text."""
        if self.rows < USELESS_MAX:
            return False
        return self.rejected == self.rows or (self.has_no_text and self.rejected + self.blank == self.rows)

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

    def quota_left(self, share: QuotaShare, prices: Prices | None) -> dict[str, float]:
        """Return the part of each limit of the quota that the stored rows leave, 0 to 1."""
        return share.left(self.rows, self.prompt_tokens + self.completion_tokens, self.cost_micro(prices))


@dataclass
class ResponseCounts(RequestCounts):
    """Responses of a source."""

    blank_reasoning: int = 0
    """Blank with reasoning."""
    reasoning: int = 0
    """Answered with reasoning."""

    def add(self, row: Response) -> None:
        """Count one response."""
        is_blank = row.error is None and not row.text.strip()
        self.count(row, is_blank=is_blank)
        self.reasoning += row.reasoning is not None
        self.blank_reasoning += is_blank and row.reasoning is not None

    def explain_blank(self, max_tokens: int) -> str:
        """Return what the blank responses have instead of a text, and what the user can do."""
        text = f"none of {self.rows} replies has a text"
        if self.blank_truncated:
            return (
                f"{text}: {self.blank_truncated} were truncated at sampling.maxTokens ({max_tokens}) before an answer, "
                f"{self.blank_reasoning} of all have reasoning: raise maxTokens, or turn off the reasoning of the model"
            )
        if self.blank_reasoning:
            return (
                f"{text}: {self.blank_reasoning} have only reasoning: the server's reasoning parser does not fit the "
                "model, or the model needs an argument of its chat template (enable_thinking) to answer without it"
            )
        return f"{text}, and none has reasoning: check the model and its chat template"


@dataclass
class JudgementCounts(RequestCounts):
    """Replies of a judge."""

    without_logprobs: int = 0
    """Answered without the log-probabilities that were requested."""

    def add(self, row: Judgement) -> None:
        """Count one reply. If a protocol requests log-probabilities, it reads only these."""
        is_useful = bool(row.text.strip()) if row.logprobs is None else row.logprobs != NO_LOGPROBS
        self.count(row, is_blank=row.error is None and not is_useful)
        self.without_logprobs += row.error is None and row.logprobs == NO_LOGPROBS

    def explain_blank(self) -> str:
        """Return what is missing in the blank replies, and what the user can do."""
        if self.without_logprobs:
            return (
                f"none of {self.rows} replies can be used, {self.without_logprobs} have no log-probabilities, which "
                "the protocol of a benchmark reads: use a judge that returns them"
            )
        return (
            f"none of {self.rows} replies has a text, {self.blank_truncated} were truncated at the protocol's limit of "
            "tokens: a model that reasons before it answers needs another limit, so use another judge, or turn off its "
            "reasoning"
        )


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
