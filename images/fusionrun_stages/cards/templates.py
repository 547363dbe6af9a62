"""The Jinja templates of the cards."""

import json
import re
from collections.abc import Mapping
from functools import cache
from typing import Any

from fusionrun_stages.cards.facts import model_of, reward_model_of, sampling_of


def render(template: str, **values: Any) -> str:
    """Render a template."""
    return str(_environment().get_template(template).render(**values))


def section_text(name: str, **values: Any) -> str:
    """Return the text of a section of the data set's card: a macro of ``sections.j2``."""
    text = getattr(_environment().get_template("sections.j2").module, name)(**values)
    return " ".join(text.split())


def front_matter(values: Mapping[str, Any]) -> str:
    """Return a card's front matter: JSON values are valid YAML."""
    return "".join(f"{key}: {json.dumps(value)}\n" for key, value in values.items())


@cache
def _environment() -> Any:
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("fusionrun_stages", "cards"),
        autoescape=jinja2.select_autoescape(["html.j2"], default=False),
        undefined=jinja2.ChainableUndefined,
        keep_trailing_newline=True,
    )
    environment.filters["score"] = lambda value: f"{value:.1f}" if isinstance(value, float) else ""
    environment.filters["cell"] = _cell
    environment.globals.update(model_of=model_of, reward_model_of=reward_model_of, sampling_of=sampling_of)
    return environment


def _cell(value: str) -> str:
    """Escape a text for one line of Markdown, also in a table: no HTML, links or images.

    Prompts and names are other people's text. An image would be loaded by everyone who opens the card.
    """
    text = " ".join(value.split()).replace("<", "&lt;")
    return re.sub(r"([\\|`\[\]])", r"\\\1", text)
