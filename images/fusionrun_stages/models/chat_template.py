"""A fixed date for chat templates that would render the current date.

Generation sends it to the server (``chat_template_kwargs``); scoring and training render with it. So the tokens of a
prompt do not depend on the day.
"""

DATE_STRING = "26 Jul 2024"
"""The default date of the chat templates of Llama 3.1 and 3.2.

Source: meta-llama/Llama-3.2-1B-Instruct, tokenizer_config.json: ``{%- set date_string = "26 Jul 2024" %}``.
"""
TEMPLATE_ARGUMENTS = {"date_string": DATE_STRING}
"""Chat template arguments that replace the time. They have no effect on a template that calls ``strftime_now`` and
ignores ``date_string``: a request cannot contain a function."""
