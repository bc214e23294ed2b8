"""Mistakes in `analyses.suppression` that a schema cannot express, each as a sentence.

Steering paper §7.1. The Snakefile imports this, so no torch.
"""

from collections.abc import Iterator

from clip_sae.planning.mistakes import Checked, template_mistakes


def mistakes(checked: Checked) -> Iterator[str]:
    """Yield a sentence for each mistake; nothing without this section."""
    section = checked.analyses.get("suppression")
    if section is None:
        return
    low, high = section["thresholds"]["low"], section["thresholds"]["high"]
    if low >= high:
        yield f"analyses.suppression.thresholds: low ({low}) must be below high ({high})."
    tables: dict[str, str] = {}
    for name, entry in section["sets"].items():
        where = f"analyses.suppression.sets.{name}"
        yield from template_mistakes(f"{where}.template", [entry["template"]])
        for column, label in entry["recipes"].items():
            yield from _label_mistakes(checked, f"{where}.recipes.{column}", label)
        for table in entry["tables"]:
            if table in tables:
                yield f"{where}.tables: {table} is a table of {tables[table]!r} already."
            tables[table] = name
        if entry["sweep"] is not None:
            yield from template_mistakes(f"{where}.sweep.templates", entry["sweep"]["templates"])
    yield from _variant_mistakes(section)


def _label_mistakes(checked: Checked, where: str, label: str) -> Iterator[str]:
    recipe, _, variant = label.partition("/")
    if recipe not in checked.config["saes"]:
        existing = ", ".join(checked.config["saes"])
        yield f"{where}: {recipe!r} is not under `saes`; its entries: {existing}."
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


def _variant_mistakes(section: dict) -> Iterator[str]:
    variants = section["variants"]
    if variants is None:
        return
    for name, entry in section["sets"].items():
        if variants["column"] not in entry["recipes"]:
            yield (
                f"analyses.suppression.variants.column: {variants['column']!r} is not a column of "
                f"sets.{name}, which has {', '.join(entry['recipes'])}."
            )
        guessed = [
            c for c, case in variants["cases"].items() if case.get("attribute_from") == "prompts"
        ]
        if guessed and entry["background"] is None:
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
