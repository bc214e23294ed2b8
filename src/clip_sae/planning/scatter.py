"""Splitting one job into parts that run anywhere, at any time, and give the same bytes.

No equation. A part does a share of the ranges or blocks that its whole consists of; the whole then
does what is left, which is nothing, and puts it together. Known to the Snakefile: no torch.
"""

from collections.abc import Sequence

from clip_sae.planning.artefacts import COMPLETE, Artefact

PARTS = "scatter"  # folder of the marks of parts, in that of the whole
BEGIN = "begin"  # the part before all others: it makes what they write into


def share(n: int, part: str) -> range:
    """Which of `n` ranges or blocks the part "2-of-8" does.

    Neighbours stay together, and shares differ by one at most; some are empty where n is less than
    the number of parts.

    Raises:
        ValueError: `part` is no "i-of-n" with 1 <= i <= n.
    """
    try:
        i, of = (int(number) for number in part.split("-of-"))
    except ValueError:
        i, of = 0, 0
    if not 1 <= i <= of:
        raise ValueError(f"part {part!r} does not exist; parts are named 1-of-8, 2-of-8, …")
    return range(n * (i - 1) // of, n * i // of)


def parts_of(whole: Sequence[Artefact], names: Sequence[str]) -> list[Artefact]:
    """One mark for each part of the job that makes `whole`, in the folder of its first output.

    Each lies in a folder of its own, and says what the part was made from, like any artefact.
    """
    upstream = tuple({up.path: up for made in whole for up in made.upstream}.values())
    return [
        Artefact(
            path=f"{whole[0].folder}/{PARTS}/{name}/{COMPLETE}",
            stage="part",
            spec={"of": [made.digest for made in whole], "part": name},
            upstream=upstream,
        )
        for name in names
    ]
