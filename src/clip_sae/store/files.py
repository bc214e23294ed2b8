"""Small files that are whole or absent: canonical JSON, and writes that survive a crash.

Every write goes to a temporary name, is flushed to the disk and then renamed: a reader sees the old
file or the new one, never half of it. Temporary files live in `<store>/.tmp`, on the same disk.
"""

import hashlib
import json
import os
import socket
import uuid
from pathlib import Path

from .errors import StoreDamaged, writing

# The files and folders of a store
SPEC = "spec.json"
ACTS = "acts.zarr"
COMPLETE = "COMPLETE.json"
TEMPORARY = ".tmp"
SEAL = "content_sha256"  # key of COMPLETE.json
# The keys of COMPLETE.json before it had a seal; with other keys, a missing seal is damage
UNSEALED = {"store_version", "spec", "spec_digest", "fingerprints", "n_images", "n_ranges"}
UNSEALED |= {"nbytes", "parts_sha256", "stats", "extra"}


def canonical_json(value: object) -> bytes:
    """Return one byte string per value: sorted keys, no blanks, UTF-8; no NaN or infinities."""
    text = json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )
    return text.encode()


def digest(data: bytes) -> str:
    """sha256 in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def sealed(document: dict) -> dict:
    """Return the document with a digest of its content, so that damage can be detected."""
    return document | {SEAL: digest(canonical_json(document))}


def check_seal(path: Path, document: dict, unsealed: set[str] = UNSEALED) -> None:
    """Raise StoreDamaged if the content does not match its digest; older documents have none.

    unsealed: the keys of an older document.
    """
    content = {key: value for key, value in document.items() if key != SEAL}
    older = {*document} == unsealed
    if not older and document.get(SEAL) != digest(canonical_json(content)):
        raise StoreDamaged(f"{path} does not match the digest of its content ({SEAL}).")


def differing_keys(one: dict, other: dict, prefix: str = "") -> list[str]:
    """Return the dotted keys that differ between two JSON objects, each with both values."""
    keys = []
    for key in sorted({*one, *other}):
        a, b = one.get(key, "(absent)"), other.get(key, "(absent)")
        if isinstance(a, dict) and isinstance(b, dict):
            keys += differing_keys(a, b, f"{prefix}{key}.")
        elif a != b:
            keys.append(f"{prefix}{key} ({a!r} there, {b!r} here)")
    return keys


def read_json(path: Path) -> dict:
    """Return the JSON object in `path`; StoreDamaged names a file that is missing or not one."""
    try:
        value = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise StoreDamaged(f"{path} is missing.") from None
    except OSError as error:
        raise StoreDamaged(f"{path} cannot be read ({error.strerror}).") from error
    except ValueError as error:
        raise StoreDamaged(f"{path} is not JSON ({error}).") from None
    if not isinstance(value, dict):
        raise StoreDamaged(f"{path} holds {type(value).__name__}; a JSON object was expected.")
    return value


def temporary_path(store: Path, label: str) -> Path:
    """Return a new path in the store's `.tmp` that names this process, for `sweep`."""
    folder = store / TEMPORARY
    folder.mkdir(exist_ok=True)
    return folder / f"{label}.{socket.gethostname()}.{os.getpid()}.{uuid.uuid4().hex}"


def sweep(store: Path, label: str) -> None:
    """Remove the temporary files of `label` that dead processes of this machine left behind."""
    for path in (store / TEMPORARY).glob(f"{label}.*"):
        host, pid, _ = path.name.removeprefix(f"{label}.").rsplit(".", 2)
        if host == socket.gethostname() and not _alive(int(pid)):
            path.unlink(missing_ok=True)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # the process exists and belongs to another user
        pass
    return True


def write_whole(store: Path, path: Path, data: bytes) -> None:
    """Write `data` to `path`, a file of `store`, whole or not at all, and flush it."""
    temporary = temporary_path(store, path.name)
    try:
        with writing(path):
            temporary.write_bytes(data)
            sync(temporary)
            publish(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def publish(temporary: Path, path: Path) -> None:
    """Rename a flushed temporary file to its final name, durably; make missing folders."""
    created = [folder for folder in path.parents if not folder.exists()]
    path.parent.mkdir(parents=True, exist_ok=True)
    with writing(path):
        os.replace(temporary, path)
        for folder in dict.fromkeys([path.parent, *created, *(f.parent for f in created)]):
            sync(folder)


def sync(path: Path) -> None:
    """Flush a file, or the entries of a folder, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
