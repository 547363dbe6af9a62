"""Detect prompts that overlap a benchmark of the run.

A prompt is contaminated if it shares an n-gram of 13 words with a benchmark's prompt, or if it is equal to one, which
may be shorter. An n-gram that many prompts share is a template and does not count.

Source: Brown et al. 2020 (arXiv 2005.14165), appendix C: 13-grams of lower-case words without punctuation; n-grams
that collide with more than 10 training documents are ignored. The rule for equal prompts is FusionRun's.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

GRAM_WORDS = 13
COMMON_PROMPTS = 10
"""An n-gram in more prompts than this is a template."""

_WORD = re.compile(r"[^\W_\u3040-\u30ff\u3400-\u9fff]+|[\u3040-\u30ff\u3400-\u9fff]")
"""A run of letters and digits, or one Chinese or Japanese character: those scripts have no spaces."""


def words_of(text: str) -> list[str]:
    """Return the words of a text: lower case, without punctuation."""
    return _WORD.findall(text.lower())


def grams_of(words: list[str]) -> Iterator[str]:
    """Yield every n-gram of ``GRAM_WORDS`` words."""
    for start in range(len(words) - GRAM_WORDS + 1):
        yield " ".join(words[start : start + GRAM_WORDS])


@dataclass(frozen=True)
class Match:
    """The words that a prompt shares with benchmarks."""

    equal: str | None
    """All words of the prompt if a benchmark has an equal one."""
    grams: frozenset[str]


@dataclass
class BenchmarkIndex:
    """The n-grams of the benchmarks' prompts. Call ``match`` once for every prompt, then ``find_overlap``."""

    benchmark_by_gram: dict[str, str] = field(default_factory=dict)
    benchmark_by_words: dict[str, str] = field(default_factory=dict)
    """Keys: all words of a benchmark's prompt."""
    matches: Counter[str] = field(default_factory=Counter)
    """Number of matching prompts by n-gram."""
    prompts: Counter[str] = field(default_factory=Counter)
    """Number of prompts by benchmark."""

    def add(self, benchmark: str, prompts: Iterable[str]) -> None:
        """Add the prompts of a benchmark."""
        self.prompts[benchmark] += 0
        for prompt in prompts:
            self.prompts[benchmark] += 1
            words = words_of(prompt)
            self.benchmark_by_words.setdefault(" ".join(words), benchmark)
            for gram in grams_of(words):
                self.benchmark_by_gram.setdefault(gram, benchmark)

    def match(self, turns: Iterable[str]) -> Match | None:
        """Return and count the n-grams that the turns of a prompt share with the benchmarks; None without any overlap.

        A prompt is equal to a benchmark's if one of its turns is.
        """
        if not self.benchmark_by_words:
            return None
        words = [words_of(turn) for turn in turns]
        grams = frozenset(gram for turn in words for gram in grams_of(turn) if gram in self.benchmark_by_gram)
        self.matches.update(grams)
        texts = (" ".join(turn) for turn in words)
        equal = next((text for text in texts if text in self.benchmark_by_words), None)
        return None if equal is None and not grams else Match(equal, grams)

    def find_overlap(self, match: Match) -> tuple[str, str] | None:
        """Return the benchmark that a prompt overlaps and the shared words; None if it shares only templates."""
        if match.equal is not None:
            return self.benchmark_by_words[match.equal], match.equal
        rare = sorted(gram for gram in match.grams if self.matches[gram] <= COMMON_PROMPTS)
        return (self.benchmark_by_gram[rare[0]], rare[0]) if rare else None


class ContaminatedPrompt(NamedTuple):
    """A prompt that was dropped because it overlaps a benchmark."""

    prompt_id: str
    dataset: str
    benchmark: str
    prompt: str
    """Its first characters."""
    shared: str
    """The shared words: an n-gram, or all words of a benchmark's prompt."""


@dataclass
class ContaminationReport:
    """The dropped prompts: ``contamination.json`` of the artifact, for users and the data set's card."""

    examples_per_benchmark: int = 20
    counts: dict[str, Counter[str]] = field(default_factory=dict)
    """Dropped prompts by benchmark, then by data set."""
    examples: dict[str, list[ContaminatedPrompt]] = field(default_factory=dict)
    """The first dropped prompts by benchmark."""

    def add(self, dropped: ContaminatedPrompt) -> None:
        """Count a dropped prompt, and keep the first ones as examples."""
        self.counts.setdefault(dropped.benchmark, Counter())[dropped.dataset] += 1
        examples = self.examples.setdefault(dropped.benchmark, [])
        if len(examples) < self.examples_per_benchmark:
            examples.append(dropped)

    def as_json(self, index: BenchmarkIndex) -> dict[str, Any]:
        """Return the report; the benchmarks are in the order of the run."""
        return {
            "ngram_words": GRAM_WORDS,
            "common_prompts": COMMON_PROMPTS,
            "benchmarks": {
                name: {
                    "prompts": count,
                    "contaminated": self.counts.get(name, Counter()).total(),
                    "by_dataset": dict(self.counts.get(name, Counter())),
                    "examples": [dropped._asdict() for dropped in self.examples.get(name, [])],
                }
                for name, count in index.prompts.items()
            },
        }
