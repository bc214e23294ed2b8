"""Steps of `analyses.typographic`: sweeps, the choice, prefixes, heads, every defence, Table 2.

Steering paper §7.2.
"""

from collections.abc import Mapping
from functools import cached_property

from clip_sae.analyses.shared.names import NEURONS
from clip_sae.planning.artefacts import COMPLETE, Artefact
from clip_sae.planning.plan import Plan, PlannedSae, Rule, StoreKey
from clip_sae.planning.steps import once

SWEEP = Rule(
    "sweep_typographic",
    f"measurements/typographic/{{kind}}-{{digest}}/{COMPLETE}",
    "clip_sae.analyses.typographic.sweep_typographic:sweep_typographic",
)
CHOOSE = Rule(
    "choose_typographic",
    {table: f"typographic_{table}.csv" for table in ("sweep", "choice", "units")},
    "clip_sae.analyses.typographic.choose_typographic:choose_typographic",
)
TRAIN_PREFIX = Rule(
    "train_prefix",
    f"defence_prefix/{{prefix}}-{{digest}}/{COMPLETE}",
    "clip_sae.analyses.typographic.train_prefix:train_prefix",
)
HEADS = Rule(
    "measure_heads",
    "typographic_heads.csv",
    "clip_sae.analyses.typographic.measure_heads:measure_heads",
)
EVALUATE = Rule(
    "evaluate_typographic",
    "measurements/typographic/{dataset}-{split}-{digest}.csv",
    "clip_sae.analyses.typographic.evaluate_typographic:evaluate_typographic",
)
RENDER = "clip_sae.analyses.typographic.render:typographic_table"
PREFIXES = ("prefix", "prefix_on_ablated")  # trained on clean features, and on ablated ones


def steps(plan: Plan) -> "TypographicPlan | None":
    """Declare all steps; return the plan, whose choice other analyses show."""
    if plan.analysis("typographic") is None:
        return None
    typographic = TypographicPlan(plan)
    plan.want("all", *typographic.choice.values())
    if typographic.heads:
        plan.want("all", typographic.heads)
    typographic.declare_tables()
    return typographic


class TypographicPlan:
    """Steps of `analyses.typographic` of a plan's config."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.section: Mapping = plan.analysis("typographic")
        self.pairs: str = self.section["pairs"]
        self.sets: Mapping[str, Mapping] = self.section["sets"]
        self.kinds: list[str] = [*self.section["recipes"], NEURONS]

    @property
    def layer(self) -> int:
        """The last residual layer, where the paper studies typographic attacks."""
        return self.plan.architecture.n_layers - 1

    def store(self, dataset: str, split: str) -> Artefact:
        """Return the residuals of one split."""
        return self.plan.store(StoreKey(dataset, split, "resid_post", self.layer))

    def saes(self, kind: str) -> list[PlannedSae]:
        """Return the SAEs of one kind of unit at the last layer: all variants; none for neurons."""
        return [] if kind == NEURONS else self.plan.saes(kind, self.layer)

    @cached_property
    def all_saes(self) -> dict[str, PlannedSae]:
        """{label: SAE} of all recipes."""
        return {sae.label: sae for kind in self.kinds for sae in self.saes(kind)}

    # --- the choice of latents ---

    @once
    def swept(self, kind: str) -> Artefact:
        """Return the folder of one kind of unit: sweep.csv and the responses of its units."""
        return self.plan.step(
            SWEEP,
            reads={
                "clip": self.plan.clip,
                "index": self.plan.index(self.pairs),
                "stores": {split: self.store(self.pairs, split) for split in ("train", "val")},
                "saes": self.saes(kind),
            },
            values={
                "layer": self.layer,
                **{key: self.section[key] for key in ("thresholds", "cosines", "template")},
            },
            kind=kind,
        )

    @property
    def sweeps(self) -> dict[str, Artefact]:
        """{label of units: folder of its sweep}, sorted by label: the order of rows in tables."""
        labels = {
            label: kind
            for kind in self.kinds
            for label in [sae.label for sae in self.saes(kind)] or [kind]
        }
        return {label: self.swept(labels[label]) for label in sorted(labels)}

    @cached_property
    def choice(self) -> dict[str, Artefact]:
        """{"sweep": of all kinds, "choice": of each kind, "units": of the chosen sets}."""
        return self.plan.step(
            CHOOSE,
            reads={"sweeps": self.sweeps},
            values={"max_clean_cost": self.section["max_clean_cost"]},
        )

    @property
    def chosen(self) -> dict[str, Artefact]:
        """The tables that name the chosen units."""
        return {table: self.choice[table] for table in ("choice", "units")}

    # --- the other defences ---

    @once
    def prefix(self, name: str) -> Artefact:
        """Return the folder of a trained prefix."""
        ablated = name == "prefix_on_ablated"
        return self.plan.step(
            TRAIN_PREFIX,
            reads={
                "clip": self.plan.clip,
                "index": self.plan.index(self.pairs),
                "store": self.store(self.pairs, "train"),
                "chosen": self.chosen if ablated else {},
                "saes": [*self.all_saes.values()] if ablated else [],
            },
            values={
                "layer": self.layer,
                "settings": self.section["prefix"],
                "templates": self.section["prefix_templates"],
            },
            prefix=name,
        )

    @cached_property
    def heads(self) -> Artefact | None:
        """The ranking of attention heads; None where the config leaves that baseline out."""
        if self.section["heads"] is None:
            return None
        return self.plan.step(
            HEADS,
            reads={"clip": self.plan.clip, "images": self.plan.images(self.pairs)},
            values={
                **{key: self.section[key] for key in ("heads", "template", "max_clean_cost")},
                "seed": self.plan.seed,
            },
        )

    # --- tables ---

    @once
    def evaluated(self, name: str) -> Artefact:
        """Return the rows of all defences on one set."""
        entry = self.sets[name]
        return self.plan.step(
            EVALUATE,
            reads={
                "clip": self.plan.clip,
                "images": self.plan.images(name),
                "store": self.store(name, entry["split"]),
                "chosen": self.chosen,
                "sweeps": self.sweeps,
                "saes": [*self.all_saes.values()],
                "prefixes": {prefix: self.prefix(prefix) for prefix in PREFIXES},
                "heads": self.heads,
            },
            values={
                "layer": self.layer,
                "split": entry["split"],
                "template": entry["template"] or self.section["template"],
                "protocols": entry["protocols"],
                "random_seeds": self.section["random_seeds"],
                **self.plan.intervals,
            },
            dataset=name,
            split=entry["split"],
        )

    @property
    def tables(self) -> dict[str, str]:
        """{protocol: name of its table}: Table 2, and the two-way protocol apart from it."""
        names = {"all_classes": "table2"}
        if any("two_way" in entry["protocols"] for entry in self.sets.values()):
            names["two_way"] = "typographic_two_way"
        return names

    def declare_tables(self) -> None:
        """Declare the tables and their rendering; the paper has numbers for Table 2 only."""
        rows = [self.evaluated(name) for name in self.sets]
        in_paper = {
            name: entry["paper"] for name, entry in self.sets.items() if entry["paper"] is not None
        }
        for protocol, table in self.tables.items():
            papers = table == "table2"
            gathered = self.plan.gather(
                f"{table}.csv", reads={"rows": rows}, values={"where": {"protocol": protocol}}
            )
            self.plan.render(
                table,
                RENDER,
                reads={
                    "csv": gathered,
                    "choice": self.choice["choice"],
                    "paper": self.plan.resource("paper/table2.csv") if papers else None,
                },
                values={
                    "protocol": protocol,
                    "model": self.plan.clip.facts["name"],
                    "paper_sets": in_paper if papers else {},
                },
            )
