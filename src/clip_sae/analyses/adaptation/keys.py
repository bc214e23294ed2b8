"""Mistakes in `analyses.adaptation` (PatchSAE §5) that a schema cannot find. No torch."""

from collections.abc import Iterator

from clip_sae.planning.architecture import Architecture
from clip_sae.planning.mistakes import Checked

FROZEN = "none"  # the method without adaptation; all gains are measured from it
TRAINING = ("lr", "epochs", "batch_images")
# {kind: keys that it needs}, {kind: keys that it may have}
NEEDED = {
    "coop": ("n_context", *TRAINING),
    "vpt": ("n_visual", *TRAINING),
    "maple": ("n_context", *TRAINING),
    "checkpoint": (),
}
ALLOWED = {
    "coop": NEEDED["coop"],
    "vpt": (*NEEDED["vpt"], "depth"),
    "maple": (*NEEDED["maple"], "depth"),
    "checkpoint": ("model", "pretrained"),
}
OF_KINDS = ("n_context", "n_visual", "depth", "model", "pretrained", *TRAINING)


def mistakes(checked: Checked) -> Iterator[str]:
    """Yield a sentence for each mistake; none if the section is missing."""
    section = checked.analyses.get("adaptation")
    if section is None:
        return
    where = "analyses.adaptation"
    for name, entry in section["datasets"].items():
        if entry["template"].count("{}") != 1:
            yield (
                f"{where}.datasets.{name}.template: {entry['template']!r} needs one {{}} for the "
                "class, e.g. 'a photo of a {}.'."
            )
        if entry["train"] == entry["test"]:
            yield (
                f"{where}.datasets.{name}: prompts are trained on {entry['train']!r} and tested on "
                "the same images; name two splits."
            )
    yield from _store_mistakes(where, section, checked.model)
    for name, method in section["methods"].items():
        yield from _method_mistakes(f"{where}.methods.{name}", name, method, checked.model)


def _store_mistakes(where: str, section: dict, model: Architecture | None) -> Iterator[str]:
    stores = section["stores"] or {"methods": None, "seeds": None, "layers": []}
    for key, existing in (("methods", list(section["methods"])), ("seeds", section["seeds"])):
        for name in stores[key] or []:
            if name not in existing:
                yield (
                    f"{where}.stores.{key}: {name!r} is not among {where}.{key}: "
                    f"{', '.join(map(str, existing))}."
                )
    for layer in stores["layers"]:
        if model is not None and layer >= model.n_layers:
            yield (
                f"{where}.stores.layers: layer {layer} does not exist; the tower's are 0 to "
                f"{model.n_layers - 1}."
            )


def _method_mistakes(
    where: str, name: str, method: dict, model: Architecture | None
) -> Iterator[str]:
    kind = method["kind"]
    if name == FROZEN:
        yield f"{where}: {FROZEN!r} is the name of the frozen model, which every config has."
    for key in OF_KINDS:
        if method[key] is not None and key not in ALLOWED[kind]:
            yield f"{where}.{key}: a method of kind {kind!r} has no key {key!r}; leave it out."
        if method[key] is None and key in NEEDED[kind]:
            yield f"{where}: kind {kind!r} needs `{key}`."
    if kind == "checkpoint" and method["model"] is None and method["pretrained"] is None:
        yield (
            f"{where}: a checkpoint needs `pretrained` (a file of weights, or a tag), or "
            "`model: local-dir:FOLDER`."
        )
    depth = method["depth"] or 1
    if model is not None and depth > model.n_layers:
        yield f"{where}.depth: {depth} blocks get prompts, but the tower has {model.n_layers}."
