"""A fixed date for chat templates that would use the current one.

Generation sends it to the server (``chat_template_kwargs``); scoring and training render with it. So a prompt has the
same tokens on any day, in generation and in training.
"""

DATE_STRING = "26 Jul 2024"
"""The default date of the chat templates of Llama 3.1 and 3.2.

Source: meta-llama/Llama-3.2-1B-Instruct, tokenizer_config.json: ``{%- set date_string = "26 Jul 2024" %}``.
"""
TEMPLATE_ARGUMENTS = {"date_string": DATE_STRING}
"""All chat template arguments that represent the time. The date of a template that calls ``strftime_now`` and ignores
``date_string`` cannot be fixed: a request cannot contain a function."""
