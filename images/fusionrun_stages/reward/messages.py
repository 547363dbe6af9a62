"""The messages of a conversation that a reward model scores."""

PromptTurns = str | list[dict[str, str]]
"""A prompt: its text, or the messages of several turns, of which the last is the question."""


def to_messages(prompt: PromptTurns, response: str) -> list[dict[str, str]]:
    """Return the messages of prompt and response, without a system prompt."""
    turns = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
    return [*turns, {"role": "assistant", "content": response}]
