"""Split one job into parts that run anywhere, at any time, and give the same bytes.

A part computes a share of the ranges or chunks of its whole; the whole then computes what is still
missing (usually nothing) and joins the parts. No torch: the Snakefile imports this.
"""

from collections.abc import Sequence

from clip_sae.planning.artefacts import COMPLETE, Artefact

PARTS = "scatter"  # folder of the marks of parts, in that of the whole
BEGIN = "begin"  # the part before all others: it makes the files that they fill


def share(n: int, part: str) -> range:
    """Return the share of part "2-of-8" among `n` ranges or chunks.

    Neighbours stay together, and shares differ by one at most; some are empty if n is less than the
    number of parts.

    Raises:
        ValueError: `part` is not "i-of-n" with 1 <= i <= n.
    """
    try:
        i, of = (int(number) for number in part.split("-of-"))
    except ValueError:
        i, of = 0, 0
    if not 1 <= i <= of:
        raise ValueError(f"part {part!r} does not exist; parts are named 1-of-8, 2-of-8, …")
    return range(n * (i - 1) // of, n * i // of)


def parts_of(whole: Sequence[Artefact], names: Sequence[str]) -> list[Artefact]:
    """Return one mark for each part of the job that makes `whole`.

    Each has its own folder below that of the first output, and records its inputs.
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
