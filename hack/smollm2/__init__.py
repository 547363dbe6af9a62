"""Inputs for a run on a real small LLM: SmolLM2-135M-Instruct, real prompts, and a reward model on the same network.

Everything comes from Python packages and from the instructions written for this project: no hub is asked.
"""
