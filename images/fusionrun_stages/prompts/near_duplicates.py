"""Detect prompts that are nearly the same as an earlier prompt, by MinHash.

The signatures come from datasketch: MIT licence, released since 2015, seeded, and vectorised with numpy (rensa is
faster, but a young extension in Rust). Prompts that share a band of the signature are candidates, whose complete
signatures are compared; datasketch chooses the size of the bands for the threshold. The first prompt is kept: the same
input and seed give the same prompts.

Source: Broder 1997, "On the resemblance and containment of documents"; Lee et al. 2022 (arXiv 2107.06499), section 4.2,
for training data. Word 3-grams because prompts are short (FusionRun's choice; the paper uses 5-grams of documents).
"""

import hashlib
from collections.abc import Iterator
from typing import Any

from fusionrun_stages.prompts.contamination import words_of

PERMUTATIONS = 128
"""Hashes per signature: the standard error of the similarity is at most 0.045 (0.5 / sqrt(128), at 0.5)."""

GRAM_WORDS = 3
MISSED_WEIGHT = 0.9
"""Weight of a missed pair against that of an unnecessary comparison, which costs microseconds and drops nothing."""

BUCKET_CANDIDATES = 64
"""Maximum prompts of one bucket to compare, the latest first: all prompts of a template are in one bucket."""

CAPACITY = 500_000
"""Maximum prompts in the index, about 2 kB each; later prompts are compared with these, and not added."""


class NearDuplicates:
    """An index of prompts, none of which is a near-duplicate of an earlier one."""

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
        """The previous prompt in the same bucket, by prompt and band."""
        self._latest: dict[int, int] = {}
        """The latest prompt by bucket."""
        self.kept = 0
        self.over_capacity = 0

    def is_near_duplicate(self, text: str) -> bool:
        """Whether the text is similar to a prompt of the index; if not, add it."""
        signature = self._signature(text)
        buckets = list(self._buckets(signature))
        if any(self._is_similar(signature, index) for index in self._candidates(buckets)):
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
        yielded: set[int] = set()
        for band, bucket in enumerate(buckets):
            index = self._latest.get(bucket, -1)
            for _ in range(BUCKET_CANDIDATES):
                if index < 0:
                    break
                if index not in yielded:
                    yielded.add(index)
                    yield index
                index = int(self._earlier[index, band])

    def _is_similar(self, signature: Any, index: int) -> bool:
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
