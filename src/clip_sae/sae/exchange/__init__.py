"""SAEs of other projects, read into this project's SAE folders (`python -m clip_sae convert`).

A reader per format turns files into a `SourceSae`; `convert` folds it to our conventions. The
formats were read in each project's source; none of its code is needed or used.
"""

from clip_sae.sae.exchange.convert import ConvertedSae, convert
from clip_sae.sae.exchange.formats import FORMATS

__all__ = ["FORMATS", "ConvertedSae", "convert"]
