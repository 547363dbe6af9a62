"""Inputs of a run with a small pretrained LLM: SmolLM2-135M-Instruct, prompts, and a reward model on the same network.

All inputs come from Python packages and from the instructions in this folder. No model hub is used.
"""
