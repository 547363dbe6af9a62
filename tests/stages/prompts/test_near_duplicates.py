import random

import pytest

from fusionrun_stages.prompts.near_duplicates import BUCKET_CANDIDATES, NearDuplicates

WORDS = [f"word{n}" for n in range(3000)]


def prompt(seed, length=60):
    return " ".join(random.Random(seed).choices(WORDS, k=length))


def similarity(one, other):
    grams = [{tuple(words[n : n + 3]) for n in range(len(words) - 2)} for words in (one.split(), other.split())]
    return len(grams[0] & grams[1]) / len(grams[0] | grams[1])


def changed(text, count, seed=0):
    words = text.split()
    for place in random.Random(seed).sample(range(len(words)), count):
        words[place] = f"other{place}"
    return " ".join(words)


def test_the_first_prompt_stays_and_similar_ones_are_duplicates():
    near = NearDuplicates(0.8, seed=42)
    first = prompt(1)
    assert not near.is_near_duplicate(first)
    assert near.is_near_duplicate(first.upper() + "!")
    assert near.is_near_duplicate(changed(first, 1))
    assert not near.is_near_duplicate(changed(first, 20))
    assert not near.is_near_duplicate(prompt(2))
    assert near.kept == 3


@pytest.mark.parametrize("text", ["", "?!", "one", "one two", "你好吗"])
def test_short_texts_are_only_duplicates_of_themselves(text):
    near = NearDuplicates(0.8, seed=42)
    assert not near.is_near_duplicate(text)
    assert near.is_near_duplicate(text)
    assert not near.is_near_duplicate("something else entirely")


def test_similarity_well_above_the_threshold_is_found_and_well_below_is_not():
    near = NearDuplicates(0.8, seed=42)
    texts = [prompt(n) for n in range(300)]
    assert not any(near.is_near_duplicate(text) for text in texts)
    alike = [changed(text, 1, n) for n, text in enumerate(texts)]
    unlike = [changed(text, 6, n) for n, text in enumerate(texts)]
    assert min(similarity(a, b) for a, b in zip(texts, alike, strict=True)) > 0.89
    assert max(similarity(a, b) for a, b in zip(texts, unlike, strict=True)) < 0.68
    assert sum(near.is_near_duplicate(text) for text in alike) >= 297
    assert sum(near.is_near_duplicate(text) for text in unlike) <= 3


def test_the_same_seed_gives_the_same_result():
    texts = [changed(prompt(n % 40), n % 7, n) for n in range(400)]
    one, two = (
        [near.is_near_duplicate(t) for t in texts] for near in (NearDuplicates(0.75, 1), NearDuplicates(0.75, 1))
    )
    assert one == two
    assert 0 < sum(one) < 400


def test_memory_is_bounded_and_later_texts_are_still_compared():
    near = NearDuplicates(0.8, seed=42, capacity=1500)
    texts = [prompt(n) for n in range(2000)]
    assert not any(near.is_near_duplicate(text) for text in texts)
    assert (near.kept, near.over_capacity) == (1500, 500)
    assert near.is_near_duplicate(texts[1499])
    assert not near.is_near_duplicate(texts[1500])


def test_a_large_bucket_is_searched_up_to_a_limit():
    near = NearDuplicates(0.95, seed=42)
    head = prompt(0, 300)
    tails = [f"{head} {prompt(n, 40)}" for n in range(1, 4 * BUCKET_CANDIDATES)]
    assert not any(near.is_near_duplicate(text) for text in tails)
    buckets = list(near._buckets(near._signature(f"{head} {prompt(10**6, 40)}")))
    assert len(list(near._candidates(buckets))) <= near.bands * BUCKET_CANDIDATES
    assert near.is_near_duplicate(tails[-1])
