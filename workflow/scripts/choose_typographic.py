"""What the sweeps choose: one set of each SAE and of neurons, and the best SAE's."""

from pathlib import Path

import numpy as np
import pandas as pd
from _job import Job

from clip_sae.analyses.typographic.choice import best_of, choose, unit_table
from clip_sae.analyses.typographic.responses import Responses
from clip_sae.npz import read_arrays
from clip_sae.specs import write_text

job = Job(snakemake)
arguments = job.arguments
sweep = pd.concat(
    [pd.read_csv(Path(folder) / "sweep.csv") for folder in arguments["folders"].values()],
    ignore_index=True,
)
rows, units = [], []
for kind, of_kind in sweep.groupby("kind", sort=False):
    choices = {
        label: choose(of_label, arguments["max_clean_cost"])
        for label, of_label in of_kind.groupby("label", sort=False)
    }
    best = best_of(choices)
    rows += [row.to_dict() | {"chosen": label == best} for label, row in choices.items()]
    job.log.info("%s: %s", kind, rows[-1] if len(choices) == 1 else choices[best].to_dict())
    if not choices[best]["n_units"]:
        continue  # nothing is worth its clean cost
    folder, name = Path(arguments["folders"][best]), best.replace("/", "_")
    responses = Responses.load(folder / f"responses-{name}.npz")
    cosines = read_arrays(folder / f"cosines-{name}.npz")
    # The table holds taus as text, which may cost the last digit.
    place = int(np.abs(np.log(cosines["taus"] / choices[best]["tau"])).argmin())
    tau, nearest = float(cosines["taus"][place]), cosines["nearest"][place]
    table = unit_table(responses.gap, responses.gap_se, nearest, tau, choices[best]["lambda"])
    units.append(table.assign(kind=kind, label=best))
columns = ["kind", "label", "unit", "gap", "gap_se", "joined_by", "nearest_cosine"]
tables = {
    "sweep": sweep,
    "choice": pd.DataFrame(rows),
    "units": pd.concat(units, ignore_index=True)[columns]
    if units
    else pd.DataFrame(columns=columns),
}
for name, path in arguments["tables"].items():
    write_text(Path(path), tables[name].to_csv(index=False))
    job.publish(path, rows=len(tables[name]))
