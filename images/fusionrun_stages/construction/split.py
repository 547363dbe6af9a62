"""Who goes where: prompts are shared out by the rank of a seeded hash, so that no order of reading matters. Pure."""

from collections.abc import Sequence
from decimal import Decimal
from hashlib import blake2b
from itertools import accumulate


def take(prompt_ids: Sequence[str], fraction: float, seed: int, purpose: str) -> list[str]:
    """Take ``floor(fraction * N)`` of the prompts, those whose hash ranks lowest.

    Parameters
    ----------
    prompt_ids
        In any order; the result does not depend on it.
    purpose
        Part of the hash, so that two splits of the same prompts are independent of each other.

    Notes
    -----
    Source: the recipe's table of set sizes, whose SFT counts are floor(0.4 N) for every Instruction set. The
    fraction is taken as the decimal that was written: 0.29 of 100 is 29, not the 28 that floats give.
    """
    ranked = sorted(prompt_ids, key=lambda prompt_id: (_hash(prompt_id, seed, purpose), prompt_id))
    return ranked[: int(Decimal(str(fraction)) * len(ranked))]


def keep(prompt_ids: Sequence[str], given: Sequence[int], limit: int, seed: int) -> list[str]:
    """Keep the prompts whose hash ranks lowest, for as long as what they give together is at most ``limit``.

    Parameters
    ----------
    prompt_ids
        In any order; the result does not depend on it. A lower limit keeps a part of what a higher one keeps.
    given
        For each prompt, how many SFT rows and pairs it gives: at least one.
    """
    ranked = sorted((_hash(name, seed, "kept"), name, count) for name, count in zip(prompt_ids, given, strict=True))
    totals = accumulate(count for _, _, count in ranked)
    return [name for (_, name, _), total in zip(ranked, totals, strict=True) if total <= limit]


def hold_out(prompt_ids: Sequence[str], fraction: float, seed: int) -> list[str]:
    """Take the pairs that training never sees: ``floor(fraction * N)``, but one at least where two or more are."""
    held = take(prompt_ids, fraction, seed, "held-out")
    if not held and fraction > 0 and len(prompt_ids) > 1:
        return [min(prompt_ids, key=lambda prompt_id: (_hash(prompt_id, seed, "held-out"), prompt_id))]
    return held


def _hash(prompt_id: str, seed: int, purpose: str) -> bytes:
    return blake2b(f"{purpose}\x00{seed}\x00{prompt_id}".encode(), digest_size=8).digest()
