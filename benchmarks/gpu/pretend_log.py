"""A record of the operations on the pretend device: bytes, multiplications, waits, and the caller.

From these follow estimates of a step on an absent GPU: bytes at the memory's speed,
multiplications at the product's, and how often the host waits.
"""

import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

# Zero-dimensional CPU tensors that entered an operation on the device: (operation, caller).
CPU_SCALARS: Counter = Counter()

# Operations after which the host knows a value or a size, so that it has waited.
WAITS = {"_local_scalar_dense", "nonzero", "bincount", "masked_select", "equal", "item"} | {
    *("unique_consecutive", "_unique2", "unique_dim", "linalg_eigh", "_linalg_eigh"),
    *("_linalg_svd", "is_nonzero"),
}
# Operations that move no data.
VIEWS = {"view", "_unsafe_view", "t", "transpose", "permute", "expand", "slice", "select"} | {
    *("unsqueeze", "squeeze", "alias", "detach", "as_strided", "split", "split_with_sizes"),
    *("chunk", "unbind", "diagonal", "narrow", "lift_fresh", "_reshape_alias", "unfold"),
    *("view_as", "values", "crow_indices", "col_indices", "unflatten", "t_", "transpose_"),
    *("unsqueeze_", "squeeze_", "set_", "sparse_compressed_tensor", "sparse_csr_tensor"),
    *("_sparse_csr_tensor_unsafe", "_sparse_compressed_tensor_unsafe", "is_same_size"),
    *("_sparse_compressed_tensor_with_dims", "empty", "new_empty", "empty_like"),
    *("empty_strided", "is_pinned", "_pin_memory", "sym_size", "_fused_sdp_choice"),
}

# Products whose first two arguments are multiplied.
PRODUCTS = ("mm", "bmm", "linear", "sparse_sampled_addmm", "sampled_addmm", "convolution")


@dataclass(frozen=True)
class Operation:
    """One operation; bytes are 0 for a view."""

    name: str
    caller: str
    dtype: str
    bytes_read: int
    bytes_written: int
    flops: int
    waits: bool


@dataclass
class Total:
    """Sums over the operations of one name, caller and dtype."""

    calls: int = 0
    bytes_read: int = 0
    bytes_written: int = 0
    flops: int = 0
    waits: int = 0


_open: list[list[Operation]] = []  # the records that `recording` has open, the innermost last


@contextmanager
def recording() -> Iterator[list[Operation]]:
    """Yield a list that gets every operation on the device while this is open."""
    operations: list[Operation] = []
    _open.append(operations)
    try:
        yield operations
    finally:
        _open.pop()


def totals(operations: list[Operation]) -> dict[tuple[str, str, str], Total]:
    """Return the sums for each (name, caller, dtype), in the order of the first call."""
    found: dict[tuple[str, str, str], Total] = {}
    for operation in operations:
        total = found.setdefault((operation.name, operation.caller, operation.dtype), Total())
        total.calls += 1
        total.bytes_read += operation.bytes_read
        total.bytes_written += operation.bytes_written
        total.flops += operation.flops
        total.waits += operation.waits
    return found


def record_tolist(tensor) -> None:
    """Record a copy of a tensor's values into a Python list, for which the host waits."""
    if _open:
        dtype = str(tensor.dtype).removeprefix("torch.")
        _open[-1].append(Operation("tolist", caller(), dtype, 0, 0, 0, True))


def record(func, args: tuple, kwargs: dict, out, *, on: list, device) -> None:
    """Record one operation, if a record is open; `on` are the arguments on the device."""
    if not _open:
        return
    name = operation_name(func)
    results = [t for t in (out if isinstance(out, tuple | list) else (out,)) if _is_tensor(t)]
    read = written = 0
    if name not in VIEWS:
        read = sum(n_bytes(t.elem) for t in on)
        written = sum(n_bytes(t) for t in results)
    if not results and name.endswith("_"):
        arguments = written_arguments(func, args, kwargs).values()
        written = sum(n_bytes(t.elem) for t in arguments if hasattr(t, "elem"))
    dtype = str(on[0].dtype).removeprefix("torch.") if on else ""
    waits = _waits(name, args, kwargs, on, device)
    flops = n_flops(name, args, results)
    _open[-1].append(Operation(name, caller(), dtype, read, written, flops, waits))


def _is_tensor(value: object) -> bool:
    return isinstance(value, torch.Tensor)


def _waits(name: str, args: tuple, kwargs: dict, on: list, device) -> bool:
    """Return True if the host waits for the device in this operation."""
    blocking = not kwargs.get("non_blocking")
    if not on:
        return name == "_to_copy" and blocking
    if name == "repeat_interleave":
        return kwargs.get("output_size") is None
    if name in ("index", "index_put_", "_index_put_impl_"):
        return any(hasattr(i, "elem") and i.dtype == torch.bool for i in args[1] if i is not None)
    if name == "_to_copy":
        return blocking and device is not None and device.type == "cpu"
    if name == "copy_":
        same_device = hasattr(args[0], "elem") and hasattr(args[1], "elem")
        return not same_device and not (len(args) > 2 and args[2])
    return name in WAITS


def n_bytes(tensor: torch.Tensor) -> int:
    """Return the bytes that reading a tensor moves; an expanded dimension counts once."""
    if tensor.layout is not torch.strided:
        return 20 * tensor._nnz()  # value, column, and its share of the row starts
    n = 1
    for size, stride in zip(tensor.shape, tensor.stride(), strict=True):
        n *= size if stride != 0 or size <= 1 else 1
    return n * tensor.element_size()


def n_flops(name: str, args: tuple, results: list[torch.Tensor]) -> int:
    """Return multiplications and additions of a product; 0 for everything else."""
    arrays = [getattr(a, "elem", a) for a in args]
    if name in ("addmm", "addmm_", "_addmm_activation", "baddbmm", "baddbmm_"):
        arrays = arrays[1:]  # the first is what the product is added to
    elif name not in PRODUCTS:
        return 0
    a, b = arrays[:2]
    if name == "linear":
        return 2 * a.numel() * b.shape[0]
    if name in ("sparse_sampled_addmm", "sampled_addmm"):
        return 2 * a._nnz() * b.shape[1]
    if name == "convolution":
        return 2 * results[0].numel() * b[0].numel()
    if a.layout is not torch.strided:
        return 2 * a._nnz() * b.shape[-1]
    return 2 * a.numel() * b.shape[-1]


def operation_name(func) -> str:
    """Return an operation's name without its namespace and overload."""
    packet = getattr(func, "overloadpacket", None)
    return packet._qualified_op_name.split("::")[-1] if packet else str(func)


def written_arguments(func, args: tuple, kwargs: dict) -> dict[frozenset, object]:
    """Return the arguments that an operation writes in place, by their alias set."""
    written = {}
    for i, argument in enumerate(func._schema.arguments):
        if argument.alias_info is None or not argument.alias_info.is_write:
            continue
        given = args[i] if i < len(args) else None
        written[frozenset(argument.alias_info.before_set)] = kwargs.get(argument.name, given)
    return written


def alias_of_result(func, i: int, many: bool) -> frozenset | None:
    """Return the alias set of result `i` if it is an argument written in place, else None."""
    returns = func._schema.returns
    listed = many and len(returns) == 1  # one result that is a list of tensors
    if listed or i >= len(returns):
        return None
    alias = returns[i].alias_info
    return frozenset(alias.before_set) if alias is not None and alias.is_write else None


def caller() -> str:
    """Return "file:line" of the innermost frame in clip_sae, else in open_clip, else "?"."""
    frame, in_open_clip = sys._getframe(1), "?"
    while frame is not None:
        path = frame.f_code.co_filename
        if "/clip_sae/" in path:
            return f"{path.split('/clip_sae/')[-1]}:{frame.f_lineno}"
        if in_open_clip == "?" and "open_clip" in path:
            in_open_clip = f"open_clip/{Path(path).name}:{frame.f_lineno}"
        frame = frame.f_back
    return in_open_clip
