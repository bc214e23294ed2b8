"""SAEs with the stores that they read, for analyses that go through many SAEs one by one."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from clip_sae.planning.inputs import SaeFiles
from clip_sae.sae import Sae
from clip_sae.store import ActivationStore


def each_sae(
    job, saes: Sequence[SaeFiles], stores: Mapping[str, Path]
) -> Iterator[tuple[SaeFiles, Sae, ActivationStore]]:
    """Yield every SAE's facts, its weights on the job's device, and the store that it reads.

    Args:
        stores: {"<hook> <layer>": store}, as `Plan.stores_read_by` declares them.
    """
    device = job.torch_device()
    for files in saes:
        job.log.info("%s %s, layer %d", files.label, files.variant, files.layer)
        store = ActivationStore(stores[f"{files.hook} {files.layer}"])
        yield files, Sae.load(files.folder, device), store
