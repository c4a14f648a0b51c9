"""exo's model cards: what it takes for the size of a published file, and whether it splits it by tensor."""

from __future__ import annotations

from deployfit.catalogue import rows
from deployfit.models import Model
from deployfit.quants.weights import Weights
from deployfit.tables import Row, Table
from deployfit.values import NamedTuple


class Card(NamedTuple):
    """A row of `data/exo_cards.csv`."""

    model_id: str
    storage_bytes: int
    layers: int
    supports_tensor: bool


def _card(row: Row) -> Card:
    return Card(
        model_id=row.text("model_id"),
        storage_bytes=row.number("storage_size_bytes"),
        layers=row.number("n_layers"),
        supports_tensor=row.flag("supports_tensor"),
    )


CARDS = Table("exo_cards.csv", ["model_id", "storage_size_bytes", "n_layers", "supports_tensor"], _card)


def card_of(model: Model, weights: Weights) -> Card | None:
    """Return the card of a publisher's file of a model, None where exo has none.

    A card is named as the file's repository: the model, sometimes with a word for its training, and the recipe.
    """
    publisher, _, recipe = weights.recipe.partition(":")
    if not recipe:
        return None
    wanted = {f"{publisher}/{name}-{recipe}".casefold() for name in (model.name, *model.row.aliases)}
    return next((card for card in rows(CARDS) if card.model_id.casefold() in wanted), None)
