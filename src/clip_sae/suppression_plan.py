"""The suppression artefacts of a plan: contrasts, evaluated layers, choices, tables.

Steering paper §7.1. Like `clip_sae.plan`, known from the config alone.
"""

from collections.abc import Mapping

from clip_sae.artefacts import COMPLETE, Artefact
from clip_sae.plan import Plan, PlannedSae, StoreKey

HEADLINE = "headline"  # the case of Tables 1 and 5 to 8
# What a case may change, with the place of its headline value: the set's block or the common one.
OF_THE_SET = ("directions",)
COMMON = ("contrast", "tokens")
EVALUATE = "evaluate_suppression"


class SuppressionPlan:
    """Artefacts of `analyses.suppression` of a plan's config."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.block: Mapping = plan.config["analyses"]["suppression"]
        self.sets: Mapping[str, Mapping] = self.block["sets"]
        self.variants: Mapping | None = self.block["variants"]
        self._evaluated: dict[tuple[str, int, str], Artefact] = {}

    # --- what a set consists of ---------------------------------------------------------------

    def saes(self, name: str, layer: int, case: str = HEADLINE) -> dict[str, PlannedSae]:
        """{label: SAE} of the columns of a set that have an SAE at this layer."""
        recipes = self.sets[name]["recipes"]
        labels = recipes.values() if case == HEADLINE else [recipes[self.variants["column"]]]
        found = {}
        for label in dict.fromkeys(labels):
            recipe, _, variant = label.partition("/")
            if layer in self.plan.layers(recipe):
                planned = {sae.variant: sae for sae in self.plan.saes(recipe, layer)}
                found[label] = planned[variant or "base"]
        return found

    def columns(self, name: str) -> list[list[str]]:
        """[column, SAE] of a set's tables; a list, because JSON forgets the order of a mapping."""
        return [list(pair) for pair in self.sets[name]["recipes"].items()]

    def layers(self, name: str, case: str = HEADLINE) -> list[int]:
        """Layers at which a set has an SAE, ascending; of a variant those that it asks for."""
        recipes = {label.partition("/")[0] for label in self.sets[name]["recipes"].values()}
        layers = sorted({layer for recipe in recipes for layer in self.plan.layers(recipe)})
        wanted = None if case == HEADLINE else self.variants["layers"]
        return [
            layer
            for layer in layers
            if (wanted is None or layer in wanted) and self.saes(name, layer, case)
        ]

    def store(self, name: str, split: str, layer: int) -> Artefact:
        """The residuals of one split."""
        return self.plan.store(StoreKey(name, split, "resid_post", layer))

    @property
    def last_layer(self) -> int:
        return self.plan.architecture.n_layers - 1

    def values(self, name: str, layer: int, case: str = HEADLINE) -> dict:
        """Values of one case at one layer: what of the contrast is used, and how units are set."""
        values = {key: self.sets[name][key] for key in OF_THE_SET}
        values |= {key: self.block[key] for key in COMMON}
        values |= {"fill": "zero", "attribute_from": "labels"}
        values |= {"grid_on_test": self.block["controls"]["beside"] == "grid"}
        if case != HEADLINE:
            changes = self.variants["cases"][case]
            values |= {key: value for key, value in changes.items() if value is not None}
        if layer == self.last_layer:
            values["tokens"] = self.block["last_layer_tokens"]
        return values

    def tokens_read(self, layer: int) -> str:
        """What a run reads of this layer's store: CLS where nothing else reaches the embedding."""
        only_cls = layer == self.last_layer and self.block["last_layer_tokens"] == "cls"
        return "cls" if only_cls else "all"

    # --- measurements -------------------------------------------------------------------------

    def prompts(self, name: str) -> dict:
        """How a set's two classes become text embeddings."""
        return {key: self.sets[name][key] for key in ("template", "names")}

    def contrast(self, name: str, layer: int, case: str = HEADLINE) -> Artefact:
        """Group means of all units at one layer, from the training split."""
        attribute_from = self.values(name, layer, case)["attribute_from"]
        guessed = attribute_from == "prompts"
        saes = self.saes(name, layer, case if guessed else HEADLINE)
        last = [self.store(name, "train", self.last_layer)] if guessed else []
        return self.plan.measured(
            f"measurements/suppression/{name}/contrast-{attribute_from}-L{layer:02d}-{{digest}}.npz",
            "measure_contrast",
            upstream=[
                *([self.plan.model] if guessed else []),
                self.plan.index(name),
                self.store(name, "train", layer),
                *last,
                *(sae.artefact for sae in saes.values()),
            ],
            spec={
                **self.contrast_spec(name, attribute_from),
                "tokens_read": self.tokens_read(layer),
                "saes": [*saes],  # the file holds their labels
            },
        )

    def contrast_spec(self, name: str, attribute_from: str) -> dict:
        """Values behind a contrast."""
        spec = {"attribute": self.sets[name]["attribute"], "attribute_from": attribute_from}
        return spec | ({"background": self._sides(name)} if attribute_from == "prompts" else {})

    def evaluated(self, name: str, layer: int, case: str = HEADLINE) -> Artefact:
        """The folder of the rows and answers of one set at one layer."""
        if (name, layer, case) not in self._evaluated:
            stores = [self.store(name, split, layer) for split in ("val", "test")]
            self._evaluated[name, layer, case] = self.plan.measured(
                f"measurements/suppression/{name}/{case}-L{layer:02d}-{{digest}}/{COMPLETE}",
                EVALUATE,
                upstream=[
                    self.plan.model,
                    self.plan.index(name),
                    *stores,
                    self.contrast(name, layer, case),
                    *(sae.artefact for sae in self.saes(name, layer, case).values()),
                ],
                spec={
                    **self.evaluation_spec(name, layer, case),
                    "saes": [*self.saes(name, layer, case)],  # the rows hold their labels
                },
            )
        return self._evaluated[name, layer, case]

    def evaluation_spec(self, name: str, layer: int, case: str = HEADLINE) -> dict:
        """Values behind the rows of one set at one layer."""
        common = ("thresholds", "max_drop", "controls")
        return {
            **{key: self.block[key] for key in common},
            **{key: self.sets[name][key] for key in ("attribute", "images")},
            **self.prompts(name),
            **self.values(name, layer, case),
            "seed": self.plan.config["seed"],
        }

    def _sides(self, name: str) -> dict:
        return {side: self.sets[name]["background"][side] for side in ("a", "not_a")}

    # --- what is read off ----------------------------------------------------------------------

    def summary(self, name: str) -> Artefact:
        """What was chosen for a set at every layer, and its test numbers."""
        return self._chosen(name, f"measurements/suppression/{name}/summary-{{digest}}.csv")

    def tables(self, name: str) -> dict[str, Artefact]:
        """The tables of the strict and the relaxed condition of a set, by file name."""
        return {t: self._chosen(name, f"{t}.csv") for t in self.sets[name]["tables"]}

    def _chosen(self, name: str, path: str) -> Artefact:
        return self.plan.measured(
            path,
            "choose_suppression",
            upstream=[self.evaluated(name, layer) for layer in self.layers(name)],
            spec={
                "max_drop": self.block["max_drop"],
                "columns": self.columns(name),
                "tables": self.sets[name]["tables"],
                **self.plan.interval_spec,
            },
        )

    def folders(self, name: str, case: str = HEADLINE) -> dict[str, str]:
        """{layer: folder of its rows} of a set."""
        layers = self.layers(name, case)
        return {str(layer): str(self.evaluated(name, layer, case).folder) for layer in layers}

    @property
    def table1(self) -> Artefact:
        """Neurons beside the SAE that is picked on validation, all sets."""
        return self.plan.measured(
            "table1.csv",
            "compare_suppression",
            upstream=[self.summary(name) for name in self.sets],
            spec={"columns": [[name, self.columns(name)] for name in self.sets]},
        )

    @property
    def rows(self) -> Artefact:
        """Every set of every layer, all sets."""
        evaluated = [self.evaluated(n, layer) for n in self.sets for layer in self.layers(n)]
        return self.plan.measured("suppression.csv", "gather_suppression", upstream=evaluated)
