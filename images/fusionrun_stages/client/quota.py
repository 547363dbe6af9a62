"""What an endpoint's answers cost, and when its quota is used up."""

import math
from dataclasses import dataclass

from fusionrun.api.models import Prices, Quota
from fusionrun.api.records import MICRO


@dataclass(frozen=True)
class Limits:
    """One shard's equal part of a quota."""

    requests: int | None = None
    tokens: int | None = None
    cost_micro: int | None = None

    @classmethod
    def of(cls, quota: Quota | None, shards: int, shard: int) -> "Limits":
        """Divide a quota so that all shards together have the whole of it."""
        if quota is None:
            return cls()
        cost = None if quota.max_cost is None else math.floor(quota.max_cost * MICRO)
        given = (quota.max_requests, quota.max_tokens, cost)
        return cls(*(None if n is None else (n + shards - 1 - shard) // shards for n in given))

    def reached(self, requests: int, tokens: int, cost: int) -> str:
        """Name the field of the quota that is used up; empty while none is.

        Parameters
        ----------
        requests
            Samples stored and under way, with those that are to be asked for next.
        tokens, cost
            Of what is stored, the cost in millionths.
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
