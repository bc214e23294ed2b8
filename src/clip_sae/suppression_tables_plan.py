"""The artefacts beyond Tables 5 to 8: text-side baselines, other prompts, variants, rendering.

Steering paper §7.1 and what the literature does beside it. Known from the config alone.
"""

from collections.abc import Iterable, Mapping
from functools import cached_property

from clip_sae.artefacts import Artefact
from clip_sae.suppression_plan import HEADLINE, SuppressionPlan

PAPER_TABLES = ("table1", "table5", "table6", "table7", "table8")


class SuppressionTables:
    """Artefacts that are made from a `SuppressionPlan`'s; `*_arguments` are their jobs' values."""

    def __init__(self, suppression: SuppressionPlan) -> None:
        self.of, self.plan = suppression, suppression.plan
        self.sets, self.variants = suppression.sets, suppression.variants
        self.cases = [HEADLINE, *(self.variants["cases"] if self.variants else ())]

    # --- text-side baselines, from the last layer's stores alone -------------------------------

    @cached_property
    def with_background(self) -> list[str]:
        """Sets that have prompts about the attribute."""
        return [name for name, place in self.sets.items() if place["background"] is not None]

    @cached_property
    def text_side(self) -> Artefact:
        """Text-side baselines."""
        last = self.of.last_layer
        return self.plan.measured(
            "suppression_text.csv",
            "measure_text_side",
            upstream=[
                self.plan.model,
                *(self.plan.index(name) for name in self.with_background),
                *(
                    self.of.store(name, split, last)
                    for name in self.with_background
                    for split in ("val", "test")
                ),
            ],
            spec=self._spec(self.with_background, *self._text_keys),
        )

    @property
    def text_arguments(self) -> dict:
        last = self.of.last_layer
        return {
            name: {
                **self._about(name, *self._text_keys),
                "stores": self._stores(name, last),
                "tokens_read": self.of.tokens_read(last),
            }
            for name in self.with_background
        }

    _text_keys = ("template", "names", "background")

    # --- other prompts ---------------------------------------------------------------------------

    @cached_property
    def with_sweep(self) -> list[str]:
        """Sets whose prompts are swept."""
        return [name for name, place in self.sets.items() if place["sweep"] is not None]

    @cached_property
    def prompts(self) -> Artefact:
        """The set of Table 1 under other prompts; which layer it is of, no plan knows."""
        return self.plan.measured(
            "suppression_prompts.csv",
            "measure_prompts",
            upstream=[
                up
                for name in self.with_sweep
                for up in (self.of.summary(name), *self._inputs(name, self.of.layers(name)))
            ],
            spec=self._spec(self.with_sweep, "recipes", "sweep"),
        )

    @property
    def prompt_arguments(self) -> dict:
        return {
            name: {
                **self._about(name, "sweep"),
                "columns": self.of.columns(name),
                "summary": self.of.summary(name).path,
                "layers": self._places(name, self.of.layers(name)),
            }
            for name in self.with_sweep
        }

    # --- other readings of Eq. 9, several layers at once -----------------------------------------

    @cached_property
    def variant_table(self) -> Artefact:
        """Every case's best layer, and the sets of several layers."""
        evaluated = [
            self.of.evaluated(name, layer, case)
            for name in self.sets
            for case in self.cases
            for layer in self.of.layers(name, case)
        ]
        joined = [up for name in self.sets for up in self._inputs(name, self._variant_layers(name))]
        return self.plan.measured(
            "suppression_variants.csv",
            "measure_variants",
            upstream=[*evaluated, *joined],
            spec={
                "variants": {k: self.variants[k] for k in ("column", "layers", "several_layers")},
                "cases": self.cases,
                "max_drop": self.of.block["max_drop"],
                **self._spec(self.sets, "template", "names", "recipes"),
            },
        )

    @cached_property
    def case_rows(self) -> Artefact:
        """Every set of every case, in one table."""
        evaluated = [
            self.of.evaluated(name, layer, case)
            for name in self.sets
            for case in self.cases[1:]
            for layer in self.of.layers(name, case)
        ]
        return self.plan.measured(
            "suppression_cases.csv",
            "gather_suppression",
            upstream=evaluated,
            spec={"cases": self.cases[1:]},
        )

    @property
    def variant_arguments(self) -> dict:
        return {
            name: {
                **self._about(name, "template", "names"),
                "units": self.sets[name]["recipes"][self.variants["column"]],
                "cases": {c: [*self.of.folders(name, c).values()] for c in self.cases},
                "layers": self._places(name, self._variant_layers(name)),
            }
            for name in self.sets
        }

    def _variant_layers(self, name: str) -> list[int]:
        """Layers that variants may use and where their SAE is."""
        [recipe] = {self.sets[name]["recipes"][self.variants["column"]].partition("/")[0]}
        return [la for la in self.plan.layers(recipe) if la in self.variants["layers"]]

    # --- Markdown and HTML -----------------------------------------------------------------------

    @property
    def all_tables(self) -> dict[str, Artefact]:
        """Tables of target `all` that are rendered, by the name of their file."""
        found = {"table1": self.of.table1}
        for name in self.sets:
            found |= self.of.tables(name)
        if self.with_background:
            found["suppression_text"] = self.text_side
        if self.with_sweep:
            found["suppression_prompts"] = self.prompts
        return found

    def papers(self, tables: Iterable[str]) -> list[str]:
        """The paper's cells of these tables, below workflow/resources."""
        return [f"paper/{name}.csv" for name in tables if name in PAPER_TABLES]

    def rendered(self, tables: Mapping[str, Artefact]) -> list[Artefact]:
        """Each table as Markdown and as HTML."""
        return [
            self.plan.measured(
                f"{name}.{suffix}",
                "render_suppression",
                upstream=[table],
                resources=self.papers(tables),
                spec=self.render_spec,
            )
            for name, table in tables.items()
            for suffix in ("md", "html")
        ]

    @cached_property
    def render_spec(self) -> dict:
        """What captions say."""
        return {
            "model": self.plan.config["model"]["name"],
            "max_drop": self.of.block["max_drop"],
            "column": self.variants["column"] if self.variants else None,
            "order": [*self.sets],
            "sets": {
                name: {key: place[key] for key in ("tables", "template")}
                for name, place in self.sets.items()
            },
        }

    # --- what several of them need ---------------------------------------------------------------

    def _spec(self, names: Iterable[str], *keys: str) -> dict:
        keys = ("attribute", "images", *keys)
        block = {name: {key: self.sets[name][key] for key in keys} for name in names}
        return {"sets": block, **self.plan.interval_spec}

    def _about(self, name: str, *keys: str) -> dict:
        block = {key: self.sets[name][key] for key in ("attribute", "images", *keys)}
        return {**block, "index": str(self.plan.index(name).folder)}

    def _stores(self, name: str, layer: int) -> dict[str, str]:
        splits = ("val", "test")
        return {split: str(self.of.store(name, split, layer).folder) for split in splits}

    def _places(self, name: str, layers: Iterable[int]) -> dict[str, dict]:
        """{layer: where its contrast, SAEs and stores lie}."""
        return {
            str(layer): {
                "contrast": self.of.contrast(name, layer).path,
                "saes": {label: sae.folder for label, sae in self.of.saes(name, layer).items()},
                "stores": self._stores(name, layer),
                "tokens_read": self.of.tokens_read(layer),
            }
            for layer in layers
        }

    def _inputs(self, name: str, layers: Iterable[int]) -> list[Artefact]:
        """What `_places` names, with the model and the manifest."""
        found = [self.plan.model, self.plan.index(name)]
        for layer in layers:
            found += [self.of.contrast(name, layer)]
            found += [self.of.store(name, split, layer) for split in ("val", "test")]
            found += [sae.artefact for sae in self.of.saes(name, layer).values()]
        return found
