"""A small world to fuse: three specialist models, a weak target, a reward model and their prompts.

Everything is trained from scratch on generated text, from one seed, so that the whole recipe can run on two CPU cores
with real models that make real mistakes. It must never be taken for a model that knows anything else.
"""
