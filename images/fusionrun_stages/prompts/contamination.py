"""Whether a prompt overlaps a benchmark that the run is measured by.

Rules: an n-gram of 13 words that stands in a benchmark's prompt, too, contaminates; a benchmark prompt of fewer
words does when it is the same. An n-gram that many prompts share is a template's and tells nothing.

Source: Brown et al. 2020 (arXiv 2005.14165), appendix C: 13-grams of lower-case words without punctuation, and
n-grams that collide with more than 10 training documents are ignored. The rule for short prompts is ours.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

FILE = "contamination.json"
"""Where ``prepare`` leaves the ``Report``, beside its manifest."""
GRAM_WORDS = 13
COMMON_PROMPTS = 10
"""An n-gram found in more prompts than this is a phrase, not a leak."""

_WORD = re.compile(r"[^\W_\u3040-\u30ff\u3400-\u9fff]+|[\u3040-\u30ff\u3400-\u9fff]")
"""A run of letters and digits, or one Chinese or Japanese character: those scripts set no spaces."""


def words_of(text: str) -> list[str]:
    """Return the words of a text: lower case, without punctuation."""
    return _WORD.findall(text.lower())


def grams_of(words: list[str]) -> Iterator[str]:
    """Yield every run of ``GRAM_WORDS`` words."""
    for start in range(len(words) - GRAM_WORDS + 1):
        yield " ".join(words[start : start + GRAM_WORDS])


@dataclass(frozen=True)
class Hit:
    """What a prompt shares with benchmarks."""

    whole: str | None
    """All its words, where a benchmark has the very same prompt."""
    grams: frozenset[str]


@dataclass
class Overlap:
    """The benchmarks' prompts as n-grams. First ``look`` at every prompt once, then ``judge`` the hits."""

    grams: dict[str, str] = field(default_factory=dict)
    """N-gram to the benchmark that it stands in."""
    whole: dict[str, str] = field(default_factory=dict)
    """All words of a prompt to its benchmark."""
    seen: Counter[str] = field(default_factory=Counter)
    """In how many prompts each benchmark n-gram was found."""
    prompts: Counter[str] = field(default_factory=Counter)
    """How many prompts each benchmark has."""

    def add(self, benchmark: str, prompts: Iterable[str]) -> None:
        """Add a benchmark's prompts."""
        self.prompts[benchmark] += 0
        for prompt in prompts:
            self.prompts[benchmark] += 1
            words = words_of(prompt)
            self.whole.setdefault(" ".join(words), benchmark)
            for gram in grams_of(words):
                self.grams.setdefault(gram, benchmark)

    def look(self, prompt: str) -> Hit | None:
        """Return what a prompt shares with the benchmarks, and count it; None where it shares nothing."""
        if not self.whole:
            return None
        words = words_of(prompt)
        whole = " ".join(words)
        grams = frozenset(gram for gram in grams_of(words) if gram in self.grams)
        self.seen.update(grams)
        return Hit(whole if whole in self.whole else None, grams) if grams or whole in self.whole else None

    def judge(self, hit: Hit) -> tuple[str, str] | None:
        """Return the benchmark that a prompt overlaps and the words that they share, or None."""
        if hit.whole is not None:
            return self.whole[hit.whole], hit.whole
        rare = sorted(gram for gram in hit.grams if self.seen[gram] <= COMMON_PROMPTS)
        return (self.grams[rare[0]], rare[0]) if rare else None


class Leak(NamedTuple):
    """A prompt that was left out since it overlaps a benchmark."""

    prompt_id: str
    dataset: str
    benchmark: str
    prompt: str
    """How it begins."""
    shared: str
    """The words that it shares with the benchmark: an n-gram, or all of a prompt of the benchmark."""


@dataclass
class Report:
    """What overlaps the benchmarks: ``contamination.json`` in the artifact, for people and for the data set's card."""

    examples_per_benchmark: int = 20
    counts: dict[str, Counter[str]] = field(default_factory=dict)
    """Left-out prompts by benchmark, then by data set."""
    examples: dict[str, list[Leak]] = field(default_factory=dict)
    """By benchmark: the first of them."""

    def add(self, leak: Leak) -> None:
        """Count a prompt that was left out, and keep it as an example while there is room."""
        self.counts.setdefault(leak.benchmark, Counter())[leak.dataset] += 1
        examples = self.examples.setdefault(leak.benchmark, [])
        if len(examples) < self.examples_per_benchmark:
            examples.append(leak)

    def as_json(self, overlap: Overlap) -> dict[str, Any]:
        """Return the report; the benchmarks in the order in which the run names them."""
        return {
            "ngram_words": GRAM_WORDS,
            "common_prompts": COMMON_PROMPTS,
            "benchmarks": {
                name: {
                    "prompts": count,
                    "contaminated": self.counts.get(name, Counter()).total(),
                    "by_dataset": dict(self.counts.get(name, Counter())),
                    "examples": [leak._asdict() for leak in self.examples.get(name, [])],
                }
                for name, count in overlap.prompts.items()
            },
        }
