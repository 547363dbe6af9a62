"""Prompts that say nearly the same as an earlier one, by MinHash.

The signatures come from datasketch: MIT-licensed, released since 2015, seeded, and its hashing is vectorised with numpy
(rensa is faster, but a young extension in Rust). Candidates are found by bands of the signature, of the sizes that
datasketch finds best for the threshold, and are then compared by the whole signature. The first in order stays, so the
same input and seed give the same prompts.

Source: Broder 1997, "On the resemblance and containment of documents"; Lee et al. 2022 (arXiv 2107.06499), section 4.2,
for texts of training data. Word 3-grams, since prompts are short: ours (they take 5-grams of whole documents).
"""

import hashlib
from collections.abc import Iterator
from typing import Any

from fusionrun_stages.prompts.contamination import words_of

PERMUTATIONS = 128
"""Numbers in a signature: the likeness is then known within 0.045 (one standard error at 0.5 is 0.5 / sqrt(128))."""

GRAM_WORDS = 3
MISSED_WEIGHT = 0.9
"""How much a missed pair weighs against a needless comparison, which costs microseconds and drops nothing."""

CHAIN = 64
"""Prompts of one band that are compared, the latest first: a template's band would hold them all."""

CAPACITY = 500_000
"""Prompts remembered, at some 2 kB each; later ones are compared with these, and not remembered."""


class NearDuplicates:
    """Remembers the prompts that it was shown and that were like none before them."""

    def __init__(self, threshold: float, seed: int, capacity: int = CAPACITY) -> None:
        import numpy as np
        from datasketch import MinHash, MinHashLSH

        best = MinHashLSH(threshold=threshold, num_perm=PERMUTATIONS, weights=(1 - MISSED_WEIGHT, MISSED_WEIGHT))
        self.bands, self.rows = best.b, best.r
        self._threshold = threshold
        self._capacity = capacity
        self._empty = MinHash(PERMUTATIONS, seed=seed)
        self._signatures: Any = np.empty((1024, PERMUTATIONS), self._empty.hashvalues.dtype)
        self._earlier: Any = np.full((1024, self.bands), -1, np.int32)
        """By prompt and band: the prompt before it in the same bucket."""
        self._latest: dict[int, int] = {}
        """By bucket: the latest prompt in it."""
        self.kept = 0
        self.over_capacity = 0

    def is_near(self, text: str) -> bool:
        """Tell whether the text is near one that was kept; remember it if not."""
        signature = self._signature(text)
        buckets = list(self._buckets(signature))
        if any(self._like(signature, index) for index in self._candidates(buckets)):
            return True
        if self.kept >= self._capacity:
            self.over_capacity += 1
        else:
            self._keep(signature, buckets)
        return False

    def _signature(self, text: str) -> Any:
        words = words_of(text)
        starts = range(max(1, len(words) - GRAM_WORDS + 1))
        grams = {" ".join(words[start : start + GRAM_WORDS]).encode() for start in starts}
        hashed = self._empty.copy()
        hashed.update_batch(sorted(grams))
        return hashed.hashvalues

    def _buckets(self, signature: Any) -> Iterator[int]:
        for band in range(self.bands):
            part = signature[band * self.rows : (band + 1) * self.rows].tobytes()
            digest = hashlib.blake2b(part, digest_size=7, salt=band.to_bytes(2, "little")).digest()
            yield int.from_bytes(digest, "little")

    def _candidates(self, buckets: list[int]) -> Iterator[int]:
        seen: set[int] = set()
        for band, bucket in enumerate(buckets):
            index = self._latest.get(bucket, -1)
            for _ in range(CHAIN):
                if index < 0:
                    break
                if index not in seen:
                    seen.add(index)
                    yield index
                index = int(self._earlier[index, band])

    def _like(self, signature: Any, index: int) -> bool:
        return bool((self._signatures[index] == signature).mean() >= self._threshold)

    def _keep(self, signature: Any, buckets: list[int]) -> None:
        import numpy as np

        if self.kept == len(self._signatures):
            more = min(self.kept, self._capacity - self.kept)
            self._signatures = np.concatenate([self._signatures, np.empty_like(self._signatures[:more])])
            self._earlier = np.concatenate([self._earlier, np.full_like(self._earlier[:more], -1)])
        self._signatures[self.kept] = signature
        for band, bucket in enumerate(buckets):
            self._earlier[self.kept, band] = self._latest.get(bucket, -1)
            self._latest[bucket] = self.kept
        self.kept += 1
