"""Cost of an endpoint's responses, and its quota."""

import math
from dataclasses import dataclass

from fusionrun.api.models import Prices, Quota
from fusionrun.api.records import MICRO


@dataclass(frozen=True)
class QuotaShare:
    """One shard's equal share of a quota."""

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


def cost_micro(prices: Prices | None, prompt_tokens: int, completion_tokens: int) -> int:
    """Return a cost in millionths: prices are per million tokens."""
    return round(prompt_tokens * prices.prompt + completion_tokens * prices.completion) if prices else 0
