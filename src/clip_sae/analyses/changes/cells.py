"""Accuracy for every crossing of concepts, later blocks and text of two models.

PatchSAE §5: how much of an adaptation's gain is in the concepts, and how much in the map from
concepts to classes, which is the later blocks and the text side together.
"""

from dataclasses import dataclass

from clip_sae.analyses.changes.exchange import CONCEPTS, OWN, RANDOM, RANDOM_MOVE, RESIDUAL

FROZEN, ADAPTED = "frozen", "adapted"


@dataclass(frozen=True)
class Cell:
    """One crossing.

    Attributes:
        name: in tables.
        blocks: the model whose later blocks run.
        source: what they read, see `exchange`.
        text: the model whose text side tells the classes.
        title: in figures and rendered tables.
    """

    name: str
    blocks: str
    source: str
    text: str
    title: str


CELLS = (
    Cell("frozen", FROZEN, OWN, FROZEN, "frozen model"),
    Cell("adapted", ADAPTED, OWN, ADAPTED, "adapted model"),
    Cell("old_concepts_new_map", ADAPTED, CONCEPTS, ADAPTED, "old concepts, new map"),
    Cell("old_concepts_new_text", FROZEN, OWN, ADAPTED, "old concepts, new text only"),
    Cell("old_concepts_new_blocks", ADAPTED, CONCEPTS, FROZEN, "old concepts, new blocks only"),
    Cell("new_concepts_old_map", FROZEN, CONCEPTS, FROZEN, "new concepts, old map"),
    Cell("new_concepts_new_text", FROZEN, CONCEPTS, ADAPTED, "new concepts, new text only"),
    Cell("new_concepts_new_blocks", ADAPTED, OWN, FROZEN, "new concepts, new blocks only"),
    Cell("old_residual_new_map", ADAPTED, RESIDUAL, ADAPTED, "old tokens whole, new map"),
    Cell("new_residual_old_map", FROZEN, RESIDUAL, FROZEN, "new tokens whole, old map"),
    Cell("random_change_new_map", ADAPTED, RANDOM, ADAPTED, "random concepts, new map"),
    Cell("random_change_old_map", FROZEN, RANDOM, FROZEN, "random concepts, old map"),
    Cell("random_move_new_map", ADAPTED, RANDOM_MOVE, ADAPTED, "random, moved as far, new map"),
    Cell("random_move_old_map", FROZEN, RANDOM_MOVE, FROZEN, "random, moved as far, old map"),
)
BY_NAME = {cell.name: cell for cell in CELLS}


def sources(cell: Cell, random_seeds: int) -> list[str]:
    """The sources of a cell's tokens: one, or one per draw of a control."""
    if cell.source not in (RANDOM, RANDOM_MOVE):
        return [cell.source]
    return [f"{cell.source}{i}" for i in range(random_seeds)]
