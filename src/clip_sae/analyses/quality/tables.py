"""Quality tables over seeds. pandas alone, because the rendering job calls it."""

import pandas as pd


def over_seeds(table: pd.DataFrame) -> pd.DataFrame:
    """One row per group of a quality table: means over its seeds, with the least and greatest.

    Columns: recipe, layer, kind, group, n_seeds, n_images, and the means with _low and _high. Rows
    of controls, which belong to no group, stay as they are.
    """
    ends = ("_low", "_high")
    about = ["recipe", "layer", "kind", "group"]
    means = [name.removesuffix("_low") for name in table if name.endswith("_low")]
    grouped = table[table["group"].notna()].groupby(about, sort=False)
    columns = {"n_seeds": grouped.size(), "n_images": grouped["n_images"].first()}
    for name in ("n_units", "matched_floor", *(n for n in table if n.startswith("floor_"))):
        columns[name] = grouped[name].mean()
    for name in means:
        columns[name] = grouped[name].mean()
        columns[f"{name}_low"], columns[f"{name}_high"] = grouped[name].min(), grouped[name].max()
    found = pd.DataFrame(columns).reset_index()
    kept = [*about, "n_images", "n_units", "matched_floor"]
    kept += [n for n in table if n.startswith("floor_")]
    kept += [f"{name}{end}" for name in means for end in ("", *ends)]
    return pd.concat([found, table.loc[table["group"].isna(), kept]], ignore_index=True)
