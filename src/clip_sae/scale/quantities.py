"""The quantities of an estimate: stores of a split, jobs of a stage, and all of it together."""

from dataclasses import asdict, dataclass, field

from clip_sae.planning.turns import Turn
from clip_sae.scale.disk import Disk
from clip_sae.scale.rates import Rate


@dataclass(frozen=True)
class Speeds:
    """What the user knows of the device: FLOP/s sustained, images decoded a second, and how many.

    `given` names those that the user gave: these are not replaced by measured ones.
    """

    flops: Rate
    images: Rate
    devices: int
    given: frozenset[str] = frozenset()


@dataclass
class Stage:
    """Jobs of one kind. `work` of those to be made, in `unit`; `hours` of one device, None where
    nothing is known; `how`: the formula or the measurement behind it, and the rate's source."""

    name: str
    jobs: int
    to_make: int
    unit: str = ""
    work: float = 0.0
    hours: float | None = None
    how: str = ""


@dataclass
class SplitWork:
    """Stores of one split. Bytes of one store; of all that the target reads, and still to make."""

    dataset: str
    split: str
    images: int | None
    source: str
    tokens_per_image: int
    tokens: int | None
    stores: int
    store_bytes: int | None
    layer_bytes: dict[int, int]
    bytes: int
    bytes_to_make: int
    passes: int
    flops_per_image: int


@dataclass
class Estimate:
    """All of it. Bytes, FLOPs, hours of one device.

    `unknown`: "data set/split" whose images nobody has counted. `absent`: {data set: root} of what
    has to be brought and is not there. `indices`: {data set: the file that counts its images}.
    """

    target: str
    splits: list[SplitWork]
    saes: list[dict]
    stages: list[Stage]
    disk: Disk
    turns: list[Turn]
    unknown: list[str] = field(default_factory=list)
    absent: dict[str, str] = field(default_factory=dict)
    indices: dict[str, str] = field(default_factory=dict)

    def to_dict(self) -> dict:
        """Plain values, for JSON."""
        return asdict(self)
