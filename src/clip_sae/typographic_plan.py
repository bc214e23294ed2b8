"""The typographic artefacts of a plan: sweeps, the choice, prefixes, heads, evaluated sets.

Steering paper §7.2, Table 2. Like `clip_sae.plan`, known from the config alone.
"""

from collections.abc import Mapping
from functools import cached_property

from clip_sae.artefacts import COMPLETE, Artefact
from clip_sae.plan import Plan, PlannedSae, StoreKey

NEURONS = "neurons"  # the control that needs no SAE
PREFIXES = ("prefix", "prefix_on_ablated")  # trained on clean features, and on ablated ones
CHOICE_TABLES = ("sweep", "choice", "units")


class TypographicPlan:
    """Artefacts of `analyses.typographic` of a plan's config."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.block: Mapping = plan.config["analyses"]["typographic"]
        self.pairs: str = self.block["pairs"]
        self.sets: Mapping[str, Mapping] = self.block["sets"]
        self.kinds: list[str] = [*self.block["recipes"], NEURONS]

    @property
    def layer(self) -> int:
        """The last residual layer, where the paper studies typographic attacks."""
        return self.plan.architecture.n_layers - 1

    def store(self, dataset: str, split: str) -> Artefact:
        """Residuals of one set."""
        return self.plan.store(StoreKey(dataset, split, "resid_post", self.layer))

    def saes(self, kind: str) -> list[PlannedSae]:
        """The SAEs of one kind of unit at the last layer: all variants; none for neurons."""
        return [] if kind == NEURONS else self.plan.saes(kind, self.layer)

    @cached_property
    def all_saes(self) -> dict[str, PlannedSae]:
        """{label: SAE} of all recipes."""
        return {sae.label: sae for kind in self.kinds for sae in self.saes(kind)}

    # --- which latents --------------------------------------------------------------------------

    @property
    def sweep_spec(self) -> dict:
        """Values behind a sweep."""
        return {key: self.block[key] for key in ("thresholds", "cosines", "template")}

    def swept(self, kind: str) -> Artefact:
        """The folder of one kind of unit: sweep.csv and the responses of its units."""
        return self.plan.measured(
            f"measurements/typographic/{kind}-{{digest}}/{COMPLETE}",
            "sweep_typographic",
            upstream=[
                self.plan.model,
                self.plan.index(self.pairs),
                *(self.store(self.pairs, split) for split in ("train", "val")),
                *(sae.artefact for sae in self.saes(kind)),
            ],
            # the files hold the labels of the SAEs
            spec=self.sweep_spec | {"saes": [sae.label for sae in self.saes(kind)]},
        )

    @cached_property
    def choice(self) -> dict[str, Artefact]:
        """The sweep of all kinds, what is chosen of each, and the units of the chosen sets."""
        return {
            table: self.plan.measured(
                f"typographic_{table}.csv",
                "choose_typographic",
                # directions of the latents decide which ones join by their cosine
                upstream=[self.swept(kind) for kind in self.kinds],
                spec={"max_clean_cost": self.block["max_clean_cost"], "saes": [*self.all_saes]},
            )
            for table in CHOICE_TABLES
        }

    # --- the other defences ---------------------------------------------------------------------

    @property
    def prefix_spec(self) -> dict:
        """Values behind a prefix."""
        return {"prefix": self.block["prefix"], "templates": self.block["prefix_templates"]}

    def prefix(self, name: str) -> Artefact:
        """The folder of a trained prefix."""
        ablated = name == "prefix_on_ablated"
        return self.plan.measured(
            f"defence_prefix/{name}-{{digest}}/{COMPLETE}",
            "train_prefix",
            upstream=[
                self.plan.model,
                self.plan.index(self.pairs),
                self.store(self.pairs, "train"),
                *([*self.choice.values(), *self._sae_artefacts] if ablated else []),
            ],
            spec=self.prefix_spec | {"name": name},
        )

    @cached_property
    def heads(self) -> Artefact | None:
        """The ranking of attention heads; None where the config leaves that baseline out."""
        if self.block["heads"] is None:
            return None
        return self.plan.measured(
            "typographic_heads.csv",
            "measure_heads",
            upstream=[self.plan.model, self.plan.index(self.pairs)],
            spec={
                "heads": self.block["heads"],
                "template": self.block["template"],
                "max_clean_cost": self.block["max_clean_cost"],
                "decoding": self.plan.decoding(self.pairs),
                "seed": self.plan.config["seed"],
            },
        )

    # --- tables -----------------------------------------------------------------------------------

    def evaluated_spec(self, name: str) -> dict:
        """Values behind the rows of one set."""
        place = self.sets[name]
        return {
            "split": place["split"],
            "template": place["template"] or self.block["template"],
            "protocols": place["protocols"],
            "random_seeds": self.block["random_seeds"],
            **self.plan.interval_spec,
            "decoding": self.plan.decoding(name) if self.heads else None,
        }

    def evaluated(self, name: str) -> Artefact:
        """The rows of all defences on one set."""
        others = [self.prefix(prefix) for prefix in PREFIXES]
        return self.plan.measured(
            f"measurements/typographic/{name}-{self.sets[name]['split']}-{{digest}}.csv",
            "evaluate_typographic",
            upstream=[
                self.plan.model,
                self.plan.index(name),
                self.store(name, self.sets[name]["split"]),
                *self.choice.values(),
                *(self.swept(kind) for kind in self.kinds),
                *self._sae_artefacts,
                *others,
                *([self.heads] if self.heads else []),
            ],
            spec=self.evaluated_spec(name) | {"saes": [*self.all_saes]},
        )

    @cached_property
    def tables(self) -> dict[str, Artefact]:
        """Table 2 (argmax over all classes), and the two-way protocol apart from it."""
        rows = [self.evaluated(name) for name in self.sets]
        names = {"all_classes": "table2"}
        if any("two_way" in place["protocols"] for place in self.sets.values()):
            names["two_way"] = "typographic_two_way"
        return {
            protocol: self.plan.measured(
                f"{name}.csv", "gather_typographic", upstream=rows, spec={"protocol": protocol}
            )
            for protocol, name in names.items()
        }

    @property
    def _sae_artefacts(self) -> list[Artefact]:
        return [sae.artefact for sae in self.all_saes.values()]
