"""A pretend CUDA device: tensors that say cuda:0, hold real values on the CPU, and refuse mixes.

    python benchmarks/gpu/pretend_cuda.py SCRIPT ARGUMENTS...     # run a script with it

It shows that no operation mixes devices, no .numpy() meets a device tensor, generators are of the
right device; and, since values are real, the device's route computes what the CPU's computes.
It cannot show CUDA's kernels, their precision, races, memory limits, speed.
"""

import runpy
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from unittest import mock

import pretend_log
import torch
import torch._dynamo  # it sorts the functions of torch.cuda by identity: before they are replaced
import torch.utils._mode_utils
from pretend_fakes import FAKES
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

CUDA = torch.device("cuda:0")
# Operations that CUDA itself runs on tensors of two devices.
MAY_MIX = {"_to_copy", "copy_", "index", "index_put_", "index_put", "_index_put_impl_"} | {
    *("_unsafe_index", "_local_scalar_dense", "set_", "lift_fresh", "detach")
}
INDEXING = ("index", "index_put_", "index_put", "_index_put_impl_")


class PretendTensor(torch.Tensor):
    """Says that it is on cuda:0; `elem`, on the CPU, holds its values."""

    elem: torch.Tensor

    @staticmethod
    def __new__(cls, elem: torch.Tensor, requires_grad: bool = False):
        facts = {"dtype": elem.dtype, "device": CUDA, "requires_grad": requires_grad}
        if elem.layout is torch.strided:
            facts |= {"strides": elem.stride(), "storage_offset": elem.storage_offset()}
        made = torch.Tensor._make_wrapper_subclass(cls, elem.shape, **facts)
        made.elem = elem
        return made

    __torch_function__ = torch._C._disabled_torch_function_impl

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        return dispatch(func, args, kwargs or {})

    def tolist(self) -> list:
        """Return the values; torch would copy them through one operation per value."""
        pretend_log.record_tolist(self)
        return self.elem.tolist()

    def __repr__(self) -> str:
        return f"PretendTensor({self.elem!r})"


class _Mode(TorchDispatchMode):
    """Sends operations without a pretend tensor through `dispatch` too: factories, copies."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        return dispatch(func, args, kwargs or {})


def dispatch(func, args: tuple, kwargs: dict):
    """Run one operation on the values, after the checks that CUDA makes."""
    name = pretend_log.operation_name(func)
    tensors = [t for t in tree_flatten((args, kwargs))[0] if isinstance(t, torch.Tensor)]
    on = [t for t in tensors if isinstance(t, PretendTensor)]
    off = [t for t in tensors if not isinstance(t, PretendTensor)]
    device = torch.device(kwargs["device"]) if kwargs.get("device") is not None else None
    wanted = device is not None and device.type == "cuda"
    if on or wanted:
        _refuse_generator(func, kwargs.get("generator"))
    if on and off:
        _refuse_mix(func, name, args, tensors, off)
    if name == "_fused_sdp_choice":
        return 0
    if name == "_has_compatible_shallow_copy_type":
        return False
    if name == "is_pinned":
        return True
    if name == "_pin_memory":
        return args[0]
    on_cpu = {key: value for key, value in kwargs.items() if key != "pin_memory"}
    if wanted:
        on_cpu["device"] = torch.device("cpu")
    out = func(*tree_map(_value, args), **tree_map(_value, on_cpu))
    if on and torch.Tag.inplace_view in func.tags:  # the wrapper's own shape changes as well
        with torch.utils._mode_utils.no_dispatch():
            func(*args, **kwargs)
    stays = device is None and bool(on)  # a result is where its arguments are
    result = _wrapped(func, args, kwargs, out, to_cuda=wanted or stays)
    if on or wanted:
        pretend_log.record(func, args, kwargs, out, on=on, device=device)
    return result


def _value(argument: object) -> object:
    return argument.elem if isinstance(argument, PretendTensor) else argument


def _refuse_generator(func, generator: torch.Generator | None) -> None:
    if generator is not None and generator.device.type == "cpu":
        raise RuntimeError(
            f"Expected a 'cuda' device type for generator but found 'cpu' [{func} at "
            f"{pretend_log.caller()}]"
        )


def _refuse_mix(func, name: str, args: tuple, tensors: list, off: list) -> None:
    """Raise for tensors of two devices, except where CUDA takes them: scalars, copies, indices."""
    where = pretend_log.caller()
    if name not in MAY_MIX:
        if any(t.dim() > 0 for t in off):
            found = [(tuple(t.shape), t.dtype, t.device.type) for t in tensors]
            raise RuntimeError(
                f"Expected all tensors to be on the same device, but found cuda:0 and cpu! "
                f"[{func}] at {where} {found}"
            )
        pretend_log.CPU_SCALARS[name, where] += 1
    if name not in INDEXING:
        return
    if not isinstance(args[0], PretendTensor):
        raise RuntimeError(f"indices on cuda, self on cpu [{func}] at {where}")
    values = args[2] if name != "index" else None
    on_cpu = isinstance(values, torch.Tensor) and not isinstance(values, PretendTensor)
    if on_cpu and values.dim() > 0:
        raise RuntimeError(f"index_put_ of values on cpu, self on cuda at {where}")


def _wrapped(func, args: tuple, kwargs: dict, out, *, to_cuda: bool):
    """Return the results as pretend tensors; what was written in place is the argument itself."""
    written = pretend_log.written_arguments(func, args, kwargs)
    many = isinstance(out, tuple | list)
    results = []
    for i, value in enumerate(out if many else (out,)):
        alias = pretend_log.alias_of_result(func, i, many)
        if alias is not None:
            results.append(written[alias])
        elif to_cuda and isinstance(value, torch.Tensor) and not isinstance(value, PretendTensor):
            results.append(PretendTensor(value))
        else:
            results.append(value)
    if not many:
        return results[0]
    return type(out)(results) if type(out) in (tuple, list) else tuple(results)


@contextmanager
def pretend() -> Iterator[None]:
    """Make this process see one CUDA device.

    Import clip_sae inside: its decorators take torch.inference_mode when they are imported, and a
    pretend tensor cannot be an inference tensor, so it is replaced by torch.no_grad.
    """
    torch._C._ensureCUDADeviceGuardSet()
    future = torch.__future__
    lifted = torch._C._only_lift_cpu_tensors()
    overwrites = future.get_overwrite_module_params_on_conversion()
    never_unavailable = "torch.amp.autocast_mode.torch.cuda.amp.common.amp_definitely_not_available"
    with ExitStack() as stack:
        for name, fake in FAKES.items():
            stack.enter_context(mock.patch.object(torch.cuda, name, fake))
        stack.enter_context(mock.patch.object(torch, "inference_mode", torch.no_grad))
        stack.enter_context(mock.patch(never_unavailable, lambda: False))
        try:
            future.set_overwrite_module_params_on_conversion(True)
            torch._C._set_only_lift_cpu_tensors(True)
            stack.enter_context(_Mode())
            yield
        finally:
            torch._C._set_only_lift_cpu_tensors(lifted)
            future.set_overwrite_module_params_on_conversion(overwrites)


def main() -> None:
    """Run the script that the arguments name."""
    if len(sys.argv) < 2:
        raise SystemExit("write: pretend_cuda.py SCRIPT ARGUMENTS...")
    del sys.argv[0]
    sys.path.insert(0, str(Path(sys.argv[0]).resolve().parent))
    with pretend():
        runpy.run_path(sys.argv[0], run_name="__main__")


if __name__ == "__main__":
    main()
