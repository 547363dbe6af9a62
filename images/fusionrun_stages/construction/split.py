"""Seeded draws of prompts. Prompts are ranked by a seeded hash, so their order does not matter. Pure."""

from collections.abc import Sequence
from decimal import Decimal
from hashlib import blake2b
from itertools import accumulate


def take(prompt_ids: Sequence[str], fraction: float, seed: int, purpose: str) -> list[str]:
    """Take ``floor(fraction * N)`` of the prompts: those with the lowest hashes.

    ``purpose`` is part of the hash, so that two draws from the same prompts are independent.

    Source: the recipe's table of set sizes, whose SFT counts are floor(0.4 N) for every Instruction set. The fraction
    is taken as a decimal: 0.29 of 100 is 29, and not 28 as with floats.
    """
    ranked = sorted(prompt_ids, key=lambda prompt_id: (_hash(prompt_id, seed, purpose), prompt_id))
    return ranked[: int(Decimal(str(fraction)) * len(ranked))]


def keep(prompt_ids: Sequence[str], examples: Sequence[int], limit: int, seed: int) -> list[str]:
    """Take prompts in the order of their hashes, as long as they give at most ``limit`` rows and pairs together.

    ``examples`` is the number of SFT rows and pairs of each prompt, at least one. A lower limit takes a subset of what
    a higher limit takes.
    """
    ranked = sorted((_hash(name, seed, "kept"), name, count) for name, count in zip(prompt_ids, examples, strict=True))
    totals = accumulate(count for _, _, count in ranked)
    return [name for (_, name, _), total in zip(ranked, totals, strict=True) if total <= limit]


def hold_out(prompt_ids: Sequence[str], fraction: float, seed: int) -> list[str]:
    """Take the pairs that are held out of training: ``floor(fraction * N)``, and at least one of two or more."""
    held = take(prompt_ids, fraction, seed, "held-out")
    if not held and fraction > 0 and len(prompt_ids) > 1:
        return [min(prompt_ids, key=lambda prompt_id: (_hash(prompt_id, seed, "held-out"), prompt_id))]
    return held


def _hash(prompt_id: str, seed: int, purpose: str) -> bytes:
    return blake2b(f"{purpose}\x00{seed}\x00{prompt_id}".encode(), digest_size=8).digest()
