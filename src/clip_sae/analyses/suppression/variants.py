"""Other readings of Eq. 9 side by side: of each, the layer that is best on validation.

Beyond the steering paper. pandas only.
"""

from collections.abc import Mapping, Sequence

import pandas as pd

from clip_sae.analyses.shared.names import CONDITIONS

KINDS = ("latent", "neuron_matched", "neuron")


def best_layers(
    summaries: Mapping[str, pd.DataFrame], units: str, layers: Sequence[int]
) -> pd.DataFrame:
    """Return a row per case, condition and kind of units: that of the best layer on validation.

    Args:
        summaries: {case: summary of its layers}, as of `summarise_layer`.
        units: the SAE that is compared; neurons are beside it.
        layers: those that may be picked, so that every case has the same choice.

    Best: highest worst-group, then overall accuracy on validation, then the lower layer. Columns:
    case, where (the layer, as text), and those of the summary.
    """
    rows = []
    for case, summary in summaries.items():
        test = summary[(summary["split"] == "test") & summary["layer"].isin(list(layers))]
        for condition in CONDITIONS:
            for kind in KINDS:
                wanted = (test["condition"] == condition) & (test["kind"] == kind)
                if kind != "neuron":
                    wanted &= test["units"] == units
                ranked = test[wanted].sort_values(
                    ["val_worst", "val_overall", "layer"], ascending=[False, False, True]
                )
                for _, row in ranked.head(1).iterrows():
                    rows.append({"case": case, "where": str(row["layer"]), **row})
    return pd.DataFrame(rows)
