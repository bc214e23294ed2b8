"""Steps of `analyses.suppression`: contrasts, evaluated layers, choices, Tables 1 and 5 to 8.

Steering paper §7.1; beyond it, text-side baselines, other prompts, and other readings of Eq. 9.
"""

from collections.abc import Iterable, Mapping

from clip_sae.analyses.shared.names import CONDITIONS
from clip_sae.planning.artefacts import COMPLETE, Artefact
from clip_sae.planning.plan import Plan, PlannedSae, Rule, StoreKey
from clip_sae.planning.steps import once

RUN = "clip_sae.analyses.suppression"
FOLDER = "measurements/suppression/{dataset}"
CONTRAST = Rule(
    "measure_contrast",
    f"{FOLDER}/contrast-{{attribute_from}}-L{{layer}}-{{digest}}.npz",
    f"{RUN}.measure_contrast:measure_contrast",
)
EVALUATE = Rule(
    "evaluate_suppression",
    f"{FOLDER}/{{case}}-L{{layer}}-{{digest}}/{COMPLETE}",
    f"{RUN}.evaluate_suppression:evaluate_suppression",
    split="units",
)
CHOOSE = Rule(
    "choose_suppression",
    f"{FOLDER}/summary-{{digest}}.csv",
    f"{RUN}.set_summary:choose_suppression",
)
COMPARE = Rule("compare_suppression", "table1.csv", f"{RUN}.paper_tables:compare_suppression")
TEXT_SIDE = Rule(
    "measure_text_side", "suppression_text.csv", f"{RUN}.measure_text_side:measure_text_side"
)
PROMPTS = Rule(
    "measure_prompts", "suppression_prompts.csv", f"{RUN}.measure_prompts:measure_prompts"
)
VARIANTS = Rule(
    "measure_variants", "suppression_variants.csv", f"{RUN}.measure_variants:measure_variants"
)
CONDITION_ROWS = f"{RUN}.paper_tables:condition_rows"
RENDER = f"{RUN}.render"
ROWS = {"file": "rows.csv", "drop": ["bits"]}  # bits mean something next to their own file only

HEADLINE = "headline"  # the case of Tables 1 and 5 to 8
# Keys that a case may change, by where their headline value stands: the set's section or the
# common one.
OF_THE_SET = ("directions",)
COMMON = ("contrast", "tokens")
PAPER_TABLES = ("table5", "table6", "table7", "table8")


def steps(plan: Plan) -> "SuppressionPlan | None":
    """Declare all steps; return the plan, whose chosen sets other analyses show."""
    if plan.analysis("suppression") is None:
        return None
    suppression = SuppressionPlan(plan)
    suppression.declare()
    return suppression


class SuppressionPlan:
    """Steps of `analyses.suppression` of a plan's config.

    Attributes:
        sets: {data set: its section}, in the order of Table 1.
        variants: section of the other readings of Eq. 9, or None.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.section: Mapping = plan.analysis("suppression")
        self.sets: Mapping[str, Mapping] = self.section["sets"]
        self.variants: Mapping | None = self.section["variants"]
        self.last_layer: int = plan.architecture.n_layers - 1

    def declare(self) -> None:
        """Declare every table and its rendering, and all steps before them."""
        self._chosen_tables()
        self._table1()
        rows = [folder for name in self.sets for folder in self.folders(name)]
        self.plan.gather("suppression.csv", reads={"rows": rows}, values=ROWS)
        self._text_side()
        self._prompts()
        if self.variants is not None:
            self._variants()

    # --- the parts of a set ---

    def saes(self, name: str, layer: int, case: str = HEADLINE) -> dict[str, PlannedSae]:
        """Return {label: SAE} of a set's columns that have an SAE at this layer, by label."""
        recipes = self.sets[name]["recipes"]
        labels = recipes.values() if case == HEADLINE else [recipes[self.variants["column"]]]
        found = {}
        for label in sorted(set(labels)):
            recipe, _, variant = label.partition("/")
            if layer in self.plan.layers(recipe):
                planned = {sae.variant: sae for sae in self.plan.saes(recipe, layer)}
                found[label] = planned[variant or "base"]
        return found

    def columns(self, name: str) -> list[list[str]]:
        """Return a set's [column, SAE] pairs; a list, because digests forget a mapping's order."""
        return [list(pair) for pair in self.sets[name]["recipes"].items()]

    def layers(self, name: str, case: str = HEADLINE) -> list[int]:
        """Return the layers at which a set has an SAE, ascending; of a variant those it names."""
        recipes = {label.partition("/")[0] for label in self.sets[name]["recipes"].values()}
        layers = sorted({layer for recipe in recipes for layer in self.plan.layers(recipe)})
        wanted = layers if case == HEADLINE else self.variants["layers"]
        return [layer for layer in layers if layer in wanted and self.saes(name, layer, case)]

    def store(self, name: str, split: str, layer: int) -> Artefact:
        """Return the residuals of one split."""
        return self.plan.store(StoreKey(name, split, "resid_post", layer))

    def tokens_read(self, layer: int) -> str:
        """Return the tokens that a run reads: "cls" where nothing else reaches the embedding."""
        only_cls = layer == self.last_layer and self.section["last_layer_tokens"] == "cls"
        return "cls" if only_cls else "all"

    def prompts(self, name: str) -> dict:
        """Return the template and names that turn a set's two classes into texts."""
        return {key: self.sets[name][key] for key in ("template", "names")}

    def values(self, name: str, layer: int, case: str = HEADLINE) -> dict:
        """Return one case's values at one layer: the contrast to use, and the edit of units."""
        values = {key: self.sets[name][key] for key in OF_THE_SET}
        values |= {key: self.section[key] for key in COMMON}
        values |= {"fill": "zero", "attribute_from": "labels"}
        values |= {"grid_on_test": self.section["controls"]["beside"] == "grid"}
        if case != HEADLINE:
            changes = self.variants["cases"][case]
            values |= {key: value for key, value in changes.items() if value is not None}
        if layer == self.last_layer:
            values["tokens"] = self.section["last_layer_tokens"]
        return values

    @property
    def cases(self) -> list[str]:
        """Names of the headline and of the variants."""
        return [HEADLINE, *(self.variants["cases"] if self.variants else ())]

    # --- measurements ---

    @once
    def contrast(self, name: str, layer: int, case: str = HEADLINE) -> Artefact:
        """Return the group means of all units at one layer, from the training split.

        One pass over the store serves all cases that take the attribute from the labels.
        """
        attribute_from = self.values(name, layer, case)["attribute_from"]
        guessed = attribute_from == "prompts"
        return self.plan.step(
            CONTRAST,
            reads={
                "index": self.plan.index(name),
                "store": self.store(name, "train", layer),
                "saes": self.saes(name, layer, case if guessed else HEADLINE),
                "guess": self._guess(name) if guessed else None,
            },
            values={
                "attribute": self.sets[name]["attribute"],
                "tokens_read": self.tokens_read(layer),
            },
            dataset=name,
            attribute_from=attribute_from,
            layer=layer,
        )

    def _guess(self, name: str) -> dict:
        """Return images at the last layer and prompts, from which the attribute is guessed."""
        return {
            "clip": self.plan.clip,
            "store": self.store(name, "train", self.last_layer),
            "tokens_read": self.tokens_read(self.last_layer),
            "prompts": {side: self.sets[name]["background"][side] for side in ("a", "not_a")},
        }

    @once
    def evaluated(self, name: str, layer: int, case: str = HEADLINE) -> Artefact:
        """Return the folder of the rows, choices and answers of one set at one layer."""
        settings = self.values(name, layer, case)
        del settings["attribute_from"]  # it decides the contrast
        controls = {key: self.section["controls"][key] for key in ("seeds", "mass")}
        return self.plan.step(
            EVALUATE,
            reads={
                "clip": self.plan.clip,
                "index": self.plan.index(name),
                "stores": self._stores(name, layer, ("test", "val")),
                "contrast": self.contrast(name, layer, case),
                "saes": self.saes(name, layer, case),
            },
            values={
                **{"dataset": name, "case": case, "layer": layer},
                **{key: self.sets[name][key] for key in ("attribute", "images")},
                **self.prompts(name),
                "tokens_read": self.tokens_read(layer),
                "thresholds": self.section["thresholds"],
                "settings": {**settings, **controls, "points": self.section["max_drop"]},
                "seed": self.plan.seed,
            },
            dataset=name,
            case=case,
            layer=layer,
        )

    def folders(self, name: str, case: str = HEADLINE) -> list[Artefact]:
        """Return the folders of a set at all its layers."""
        return [self.evaluated(name, layer, case) for layer in self.layers(name, case)]

    @once
    def summary(self, name: str) -> Artefact:
        """Return the table of a set's choices at every layer, with test numbers."""
        return self.plan.step(
            CHOOSE,
            reads={"layers": self.folders(name)},
            values=self.plan.intervals,
            dataset=name,
        )

    # --- Tables 1 and 5 to 8 ---

    def _chosen_tables(self) -> None:
        """Declare the tables of the strict and the relaxed condition of every set."""
        for name, entry in self.sets.items():
            for table, condition in zip(entry["tables"], CONDITIONS, strict=True):
                csv = self.plan.gather(
                    f"{table}.csv",
                    CONDITION_ROWS,
                    reads={"summary": self.summary(name)},
                    values={"condition": condition, "columns": self.columns(name)},
                )
                paper = f"paper/{table}.csv" if table in PAPER_TABLES else None
                self.plan.render(
                    table,
                    f"{RENDER}:condition_table",
                    reads={"csv": csv, "paper": paper and self.plan.resource(paper)},
                    values={
                        **{"table": table, "condition": condition, "dataset": name},
                        **{"model": self._model, "points": self.section["max_drop"]},
                    },
                )

    def _table1(self) -> None:
        """Declare Table 1: neurons next to the SAE that is picked on validation, all sets."""
        table = self.plan.step(
            COMPARE,
            reads={"summaries": {name: self.summary(name) for name in self.sets}},
            values={"columns": {name: self.columns(name) for name in self.sets}},
        )
        self.plan.want("all", table)
        self.plan.render(
            "table1",
            f"{RENDER}:table1",
            reads={"csv": table, "paper": self.plan.resource("paper/table1.csv")},
            values={"sets": [*self.sets], "model": self._model},
        )

    # --- beyond them ---

    def _text_side(self) -> None:
        """Declare text-side baselines of sets with prompts about the attribute."""
        sets = {
            name: {
                "index": self.plan.index(name),
                "stores": self._stores(name, self.last_layer, ("val", "test")),
                **self._about(name, "template", "names", "background"),
            }
            for name in self._sets_with("background")
        }
        if sets:
            table = self.plan.step(
                TEXT_SIDE,
                reads={"clip": self.plan.clip, "sets": sets},
                values={"tokens_read": self.tokens_read(self.last_layer), **self.plan.intervals},
            )
            self._by_set("suppression_text", "text_side", table, self._templates(sets))

    def _prompts(self) -> None:
        """Declare the set of Table 1 under other prompts; its layer is known when the job runs."""
        sets = {
            name: {
                "summary": self.summary(name),
                "index": self.plan.index(name),
                "layers": self._layer_files(name, self.layers(name), ("test",)),
                "columns": self.columns(name),
                **self._about(name, "sweep"),
            }
            for name in self._sets_with("sweep")
        }
        if sets:
            table = self.plan.step(
                PROMPTS,
                reads={"clip": self.plan.clip, "sets": sets},
                values=self.plan.intervals,
            )
            self._by_set("suppression_prompts", "prompts", table, self._templates(sets))

    def _variants(self) -> None:
        """Declare every case's best layer, and the sets of several layers at once."""
        joins = self.variants["several_layers"]
        sets = {
            name: {
                "cases": {case: self.folders(name, case) for case in sorted(self.cases)},
                "units": self.sets[name]["recipes"][self.variants["column"]],
                "joined": self._joined(name) if joins else None,
            }
            for name in sorted(self.sets)
        }
        table = self.plan.step(
            VARIANTS,
            reads={"clip": self.plan.clip if joins else None, "sets": sets},
            values={
                "layers": self.variants["layers"],
                "max_drop": self.section["max_drop"],
                **self.plan.intervals,
            },
        )
        column = {"column": self.variants["column"]}
        self._by_set("suppression_variants", "variants", table, column, target="extended")
        others = self.cases[1:]
        rows = [folder for name in self.sets for c in others for folder in self.folders(name, c)]
        if rows:
            self.plan.gather(
                "suppression_cases.csv", reads={"rows": rows}, values=ROWS, target="extended"
            )

    def _joined(self, name: str) -> dict:
        """Return the inputs of runs without the chosen sets of several layers."""
        recipe = self.sets[name]["recipes"][self.variants["column"]].partition("/")[0]
        layers = [la for la in self.plan.layers(recipe) if la in self.variants["layers"]]
        return {
            "case": HEADLINE,
            "index": self.plan.index(name),
            "layers": self._layer_files(name, layers, ("val", "test")),
            **self._about(name, "template", "names"),
        }

    # --- shared helpers ---

    @property
    def _model(self) -> str:
        """Name of the model in captions."""
        return self.plan.clip.facts["name"]

    def _by_set(
        self, name: str, run: str, table: Artefact, values: Mapping, target: str = "all"
    ) -> None:
        """Want a table, and declare its rendering: one table per data set, nothing of the paper."""
        self.plan.want(target, table)
        self.plan.render(
            name,
            f"{RENDER}:{run}",
            reads={"csv": table},
            values={"model": self._model, **values},
            target=target,
        )

    def _sets_with(self, key: str) -> list[str]:
        """Return the sets whose section has this key, in the order of their table's rows."""
        return [name for name in sorted(self.sets) if self.sets[name][key] is not None]

    def _templates(self, names: Iterable[str]) -> dict:
        return {"templates": {name: self.sets[name]["template"] for name in names}}

    def _about(self, name: str, *keys: str) -> dict:
        return {key: self.sets[name][key] for key in ("attribute", "images", *keys)}

    def _stores(self, name: str, layer: int, splits: Iterable[str]) -> dict[str, Artefact]:
        return {split: self.store(name, split, layer) for split in splits}

    def _layer_files(
        self, name: str, layers: Iterable[int], splits: Iterable[str]
    ) -> dict[int, dict]:
        """Return {layer: its contrast, SAEs, stores and the tokens to read}."""
        return {
            layer: {
                "contrast": self.contrast(name, layer),
                "saes": self.saes(name, layer),
                "stores": self._stores(name, layer, splits),
                "tokens_read": self.tokens_read(layer),
            }
            for layer in layers
        }
