"""What a schema cannot say about `analyses.suppression`: each mistake as a sentence.

Steering paper §7.1. Known to the Snakefile, so no torch.
"""

from collections.abc import Iterator

from clip_sae.planning.mistakes import Checked, template_mistakes


def mistakes(checked: Checked) -> Iterator[str]:
    """Yield a sentence for each mistake; nothing where there is no such block."""
    block = checked.analyses.get("suppression")
    if block is None:
        return
    low, high = block["thresholds"]["low"], block["thresholds"]["high"]
    if low >= high:
        yield f"analyses.suppression.thresholds: low ({low}) must be below high ({high})."
    tables: dict[str, str] = {}
    for name, place in block["sets"].items():
        where = f"analyses.suppression.sets.{name}"
        yield from template_mistakes(f"{where}.template", [place["template"]])
        for column, label in place["recipes"].items():
            yield from _label_mistakes(checked, f"{where}.recipes.{column}", label)
        for table in place["tables"]:
            if table in tables:
                yield f"{where}.tables: {table} is a table of {tables[table]!r} already."
            tables[table] = name
        if place["sweep"] is not None:
            yield from template_mistakes(f"{where}.sweep.templates", place["sweep"]["templates"])
    yield from _variant_mistakes(block)


def _label_mistakes(checked: Checked, where: str, label: str) -> Iterator[str]:
    recipe, _, variant = label.partition("/")
    if recipe not in checked.config["saes"]:
        existing = ", ".join(checked.config["saes"])
        yield f"{where}: {recipe!r} is not under `saes`; there are: {existing}."
        return
    hook = checked.recipe(recipe)["hook"]
    if hook != "resid_post":
        yield (
            f"{where}: {recipe!r} reconstructs {hook}, and suppression edits resid_post. Name a "
            f"recipe of that hook."
        )
    tokens = checked.recipe(recipe).get("tokens", "all")
    if tokens != "all":
        yield (
            f"{where}: {recipe!r} is trained on {tokens} tokens, and "
            "suppression takes units out at every token. Name a recipe with `tokens: all`."
        )
    known = checked.variants[recipe]
    if known and (variant or "base") not in known:
        names = ", ".join(f"{recipe}/{name}" for name in known)
        yield f"{where}: {label!r} is not one SAE per layer. Write one of: {names}."


def _variant_mistakes(block: dict) -> Iterator[str]:
    variants = block["variants"]
    if variants is None:
        return
    for name, place in block["sets"].items():
        if variants["column"] not in place["recipes"]:
            yield (
                f"analyses.suppression.variants.column: {variants['column']!r} is no column of "
                f"sets.{name}, which has {', '.join(place['recipes'])}."
            )
        guessed = [
            c for c, case in variants["cases"].items() if case.get("attribute_from") == "prompts"
        ]
        if guessed and place["background"] is None:
            yield (
                f"analyses.suppression.variants.cases.{guessed[0]}: the attribute is guessed from "
                f"prompts, and sets.{name} has none. Give it `background` with `a` and `not_a`."
            )
        for case, changes in variants["cases"].items():
            if changes.get("attribute_from") == "prompts" and changes.get("contrast") == "balanced":
                yield (
                    f"analyses.suppression.variants.cases.{case}: without labels there is no "
                    "balanced contrast. Write `contrast: plain`."
                )
