"""The user message of a question, as its protocol puts it."""

import re

from fusionrun.api.tasks.protocol import PromptForm
from fusionrun_stages.benchmarks.item import Item
from fusionrun_stages.benchmarks.options import listed

PLACEHOLDER = re.compile(r"\{(\w+)\}")


def user_message(form: PromptForm, item: Item) -> str:
    """Return the template with its placeholders replaced: ``{prompt}``, ``{options}``, and those of the layout.

    All are replaced at once, so braces in a question or in an option stay. Any other name in braces stays, too.
    """
    options = listed(item.options) if item.options else ""
    values = {"prompt": item.text, "options": options, **item.values}
    return PLACEHOLDER.sub(lambda match: values.get(match[1], match[0]), form.template)
