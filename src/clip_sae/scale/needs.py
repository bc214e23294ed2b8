"""What a target of a config needs: images, stores and their passes, SAEs. How long: `estimate`."""

from collections.abc import Mapping
from pathlib import Path

from clip_sae.planning.plan import Plan, PlannedSae
from clip_sae.planning.turns import Turn
from clip_sae.planning.turns import turns as cut_turns
from clip_sae.scale.images import ImageCount, count_images
from clip_sae.scale.listing import WorkListing
from clip_sae.scale.quantities import SplitWork
from clip_sae.scale.work import (
    forward_flops,
    sae_bytes,
    store_bytes,
    training_flops,
    training_tokens,
)


class Needs:
    """Everything behind a target, and what of it is still to be made.

    Args:
        plan: of the validated config.
        listing: what the workflow says of the same config.
        given: images that the user knows, {(data set, split): N}.
    """

    def __init__(
        self,
        plan: Plan,
        listing: WorkListing,
        target: str,
        given: Mapping[tuple[str, str], int],
    ) -> None:
        self.plan, self.listing, self.target, self.given = plan, listing, target, given
        self.sizes = plan.architecture
        self.block = plan.config["activations"]
        self.needed = listing.needed(target)
        self.to_make = listing.to_make(target)
        self.readers = listing.read_stores(self.needed)
        self.places = {
            store["path"]: ((store["dataset"], store["split"]), store["layer"])
            for store in listing.stores
            if store["path"] in self.readers
        }
        self.wanted = {  # stores that something to be made reads, and that are not there
            path
            for path, found in self.readers.items()
            if self.to_make.intersection(found) and self.absent(path)
        }
        self.counts: dict[tuple[str, str], ImageCount] = {}
        self.cut = self.turns(self.block["layers_at_once"] or plan.architecture.n_layers)

    # --- counts and stores ------------------------------------------------------------------------

    def images(self, dataset: str, split: str) -> ImageCount:
        """Images of one split, each asked for once."""
        if (dataset, split) not in self.counts:
            self.counts[dataset, split] = count_images(self.plan, dataset, split, self.given)
        return self.counts[dataset, split]

    def absent(self, path: str) -> bool:
        return not Path(path).exists()

    def turns(self, at_once: int) -> list[Turn]:
        return cut_turns(self.places, self.listing.upstream, self.needed, at_once)

    def store_bytes(self, path: str) -> int:
        (dataset, split), _ = self.places[path]
        return store_bytes(self.images(dataset, split).n or 0, self.sizes, self.block)

    def split(self, place: tuple[str, str]) -> SplitWork:
        paths = [path for path, (where, _) in self.places.items() if where == place]
        count = self.images(*place)
        size = None if count.n is None else self.store_bytes(paths[0])
        layers: dict[int, int] = {}
        for path in paths:
            layer = self.places[path][1]
            layers[layer] = layers.get(layer, 0) + (size or 0)
        wanted = [path for path in paths if path in self.wanted]
        deepest = 1 + max(layers)
        return SplitWork(
            *place,
            images=count.n,
            source=count.source,
            tokens_per_image=self.sizes.n_tokens,
            tokens=None if count.n is None else count.n * self.sizes.n_tokens,
            stores=len(paths),
            store_bytes=size,
            layer_bytes=dict(sorted(layers.items())),
            bytes=len(paths) * (size or 0),
            bytes_to_make=len(wanted) * (size or 0),
            passes=len(self.passes(paths)),
            flops_per_image=forward_flops(self.sizes, deepest),
        )

    def passes(self, paths: list[str]) -> dict[tuple, int]:
        """{job: layers that its forward pass goes through} of the extractions of some stores."""
        per_job = self.block["layers_per_job"]
        turn_of = {
            (turn.split, layer): number
            for number, turn in enumerate(self.cut)
            for layer in turn.layers
        }
        found: dict[tuple, int] = {}
        for path in paths:
            place, layer = self.places[path]
            job = (place, layer // per_job, turn_of[place, layer])
            found[job] = max(found.get(job, 0), layer + 1)
        return found

    # --- SAEs -------------------------------------------------------------------------------------

    def planned_saes(self) -> dict[str, list[PlannedSae]]:
        """{recipe: its SAEs that the target needs}."""
        found = {
            name: [sae for sae in self.plan.all_saes(name) if sae.artefact.path in self.needed]
            for name in self.plan.config["saes"]
        }
        return {name: saes for name, saes in found.items() if saes}

    def training_images(self, name: str) -> int:
        block = self.plan.config["saes"][name]
        return self.images(block["dataset"], block["split"]).n or 0

    def sae_row(self, name: str, saes: list[PlannedSae]) -> dict:
        recipe, images = saes[0].recipe, self.training_images(name)
        tokens = training_tokens(recipe, images, self.sizes)
        return {
            "recipe": name,
            "saes": len(saes),
            "to_make": sum(sae.artefact.path in self.to_make for sae in saes),
            "layers": sorted({sae.layer for sae in saes}),
            "d_sae": recipe.d_sae(self.sizes.d_model),
            "tokens_each": tokens,
            "tokens": tokens * len(saes),
            "flops": sum(training_flops(sae.recipe, images, self.sizes) for sae in saes),
            "bytes": sum(sae_bytes(sae.recipe, self.sizes) for sae in saes),
        }
