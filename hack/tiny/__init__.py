"""Inputs of the tiny run: three source models, a weak target, a reward model, prompts and benchmarks.

All models are trained from scratch on generated text, from one seed, so that the whole recipe runs on two CPU cores
with models that make mistakes. They have no other knowledge.
"""
