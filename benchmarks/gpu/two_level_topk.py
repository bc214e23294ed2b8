"""The k largest values of each row in one pass over the row, in plain torch.

The k largest lie in the k groups whose maxima are largest, so that a top-k over the maxima and one
over the members of those groups are enough. torch's own top-k reads a row several times.
"""

import torch

GROUP = 8  # values per group


def two_level_topk(values: torch.Tensor, k: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the k largest values of each row and their columns, [row, k] each, in no order.

    Args:
        values: [row, column]; the number of columns is a multiple of GROUP, of k groups at least.
    """
    rows, columns = values.shape
    n_groups = columns // GROUP
    members = values.view(rows, GROUP, n_groups)  # group g holds every n_groups-th column from g
    groups = members.amax(dim=1).topk(k, dim=1, sorted=False).indices  # [row k]
    index = groups.unsqueeze(1).expand(-1, GROUP, -1)
    candidates = members.gather(2, index).reshape(rows, GROUP * k)
    found = candidates.topk(k, dim=1, sorted=False)
    member, group = found.indices // k, found.indices % k
    return found.values, member * n_groups + groups.gather(1, group)
