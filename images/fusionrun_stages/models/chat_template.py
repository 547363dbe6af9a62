"""What a chat template would otherwise take from the clock: one value, wherever a conversation is rendered.

Generation sends it to the server (``chat_template_kwargs``), scoring and training render with it themselves: a prompt
is the same tokens on any day, and the tokens that a source answered are those that the target is trained on.
"""

DATE_STRING = "26 Jul 2024"
"""The date that Llama 3.1's and 3.2's chat templates write.

Source: those templates' own value where they are given no clock (meta-llama/Llama-3.2-1B-Instruct,
tokenizer_config.json: ``{%- set date_string = "26 Jul 2024" %}``).
"""
TEMPLATE_ARGUMENTS = {"date_string": DATE_STRING}
"""Every argument of a chat template that stands for the time. A template that calls ``strftime_now`` without looking
for ``date_string`` first cannot be pinned from outside: no argument of a request is a function."""
