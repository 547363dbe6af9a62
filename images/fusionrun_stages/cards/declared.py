"""Reads the licence that the card in a folder declares."""

from pathlib import Path

from fusionrun_stages.cards.licences import declared_licence
from fusionrun_stages.remote.hub import CARD
from fusionrun_stages.volume.paths import inside_volume


def read_licence(folder: Path) -> str | None:
    """Return the licence that the card in a model's or data set's folder declares, or None."""
    import yaml
    from huggingface_hub.repocard import metadata_load

    card = folder / CARD
    try:
        return declared_licence(metadata_load(inside_volume(card))) if card.is_file() else None
    except (ValueError, yaml.YAMLError):
        return None
