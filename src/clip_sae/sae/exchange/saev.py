"""saev checkpoints: `sae.pt`, one line of JSON and then a torch.save stream.

Read in saev (2025-10): files of schema 2 on say in `cfg.activation` how latents are read, and do
not subtract b_dec before the encoder; schema 5 adds `activation.threshold`. The code that wrote
files without a schema, and those of schema 1 with a class of the SAE in `cls`, did subtract it.
"""

from __future__ import annotations

import io
import json
from pathlib import Path

from clip_sae.sae.exchange.pickles import load_tensors
from clip_sae.sae.exchange.source import SourceSae, need, take
from clip_sae.sae.files import SaeFileError
from clip_sae.sae.folding import Arrays

THRESHOLD = "activation.threshold"
FIRST_CLASSES = ("Relu", "TopK")  # of schema 1, in `cls`


def read_saev(source: Path, *, allow_pickle: bool) -> SourceSae:
    """Read `sae.pt`, or the folder that holds it."""
    path = source / "sae.pt" if source.is_dir() else source
    header, stream = _split(path)
    tensors = load_tensors(stream, path)
    word, options = _activation(header, path)
    learnt = isinstance(tensors, dict) and THRESHOLD in tensors
    names = ["W_enc", "b_enc", "W_dec", "b_dec"]
    found = take(tensors, names + [THRESHOLD] * learnt, path)
    threshold = found.pop(THRESHOLD, None)
    notes: tuple[str, ...] = ()
    if word == "Relu":
        architecture, trained, k, threshold = "vanilla", "standard", None, None
    elif word == "BatchTopK" and learnt:
        architecture, trained, k = "jumprelu", "batchtopk", None
        threshold = threshold.expand(len(found["b_enc"])).contiguous()
    elif word in ("TopK", "BatchTopK"):
        # Before it learnt a threshold, BatchTopK took the k largest of each token there.
        architecture, trained, threshold = "topk", word.lower(), None
        k = int(need(options, "top_k" if "top_k" in options else "k", path))
        notes = (
            "saev keeps negative pre-activations among the k largest; here they are cut at 0.",
        )
    else:
        raise SaeFileError(f"{path}: activation {word!r}; read are Relu, TopK and BatchTopK.")
    return SourceSae(
        Arrays(**found, threshold=threshold),
        architecture,
        trained,
        (path,),
        k=k,
        centred=_centred(header),
        notes=notes,
        facts={"schema": header.get("schema", 0), "lib": str(header.get("lib", "unknown"))},
    )


def _split(path: Path) -> tuple[dict, io.BytesIO]:
    if not path.is_file():
        raise SaeFileError(f"{path} is missing; saev keeps an SAE in a file sae.pt.")
    line, _, rest = path.read_bytes().partition(b"\n")
    try:
        header = json.loads(line)
    except ValueError as error:
        raise SaeFileError(f"{path} does not begin with a line of JSON ({error}).") from error
    if not isinstance(header, dict):
        raise SaeFileError(f"{path} begins with {header!r}; expected a JSON object.")
    return header, io.BytesIO(rest)


def _centred(header: dict) -> bool:
    """Return True if the code that wrote the file subtracted b_dec before the encoder."""
    return "schema" not in header or header.get("cls") in FIRST_CLASSES


def _activation(header: dict, path: Path) -> tuple[str, dict]:
    """Return the activation's class name and its options, whichever schema the header follows."""
    if "schema" not in header:
        return "Relu", {}  # the format's first files came before any other activation
    config = need(header, "cfg", path)
    if header.get("cls") == "BatchTopK":
        raise SaeFileError(
            f"{path}: a BatchTopK SAE of schema {header['schema']!r} took the k largest of a whole "
            f"batch and kept no threshold, so it has no latents of its own. Train it again with a "
            f"later saev, which writes activation.threshold."
        )
    if header.get("cls") in FIRST_CLASSES:
        return header["cls"], config
    if header.get("schema") == 1:
        raise SaeFileError(
            f"{path}: schema 1 with cls {header.get('cls')!r}: it is not known whether its encoder "
            f"subtracts b_dec. Read are files without a schema, schema 1 with cls "
            f"{' or '.join(FIRST_CLASSES)}, and schemas from 2 on."
        )
    activation = need(config, "activation", path)
    word = need(activation, "cls", path)
    return word, activation.get("params") or {}


def begins_with_json(path: Path) -> bool:
    """Return True if a file begins with text, as saev's do, and not with torch.save's zip."""
    with open(path, "rb") as file:
        return file.read(1) == b"{"
