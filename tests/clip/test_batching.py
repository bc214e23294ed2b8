"""Batches that do not fit are halved, with the same result and no endless loop."""

import pytest
import torch

from clip_sae.clip.batching import SmallerBatches


class Device:
    """Doubles its input, but runs out of memory above `fits` rows."""

    def __init__(self, fits: int, error: RuntimeError | None = None) -> None:
        self.fits, self.sizes = fits, []
        self.error = error or torch.OutOfMemoryError("CUDA out of memory")

    def __call__(self, batch):
        self.sizes.append(len(batch))
        if len(batch) > self.fits:
            raise self.error
        return {"twice": batch * 2}


@pytest.mark.parametrize("fits", [1, 2, 3, 5, 8, 100])
def test_halves_give_the_whole(fits):
    batch = torch.arange(24).reshape(8, 3)
    result = SmallerBatches()(Device(fits), batch)
    assert torch.equal(result["twice"], batch * 2)


def test_tensors_are_joined_too():
    def fn(batch):
        return Device(2)(batch)["twice"]

    assert torch.equal(SmallerBatches()(fn, torch.arange(5)), torch.arange(5) * 2)


def test_the_smaller_size_is_kept():
    device, smaller = Device(2), SmallerBatches()
    smaller(device, torch.zeros(8))
    assert device.sizes == [8, 4, 2, 2, 2, 2]
    smaller(device, torch.zeros(4))
    assert device.sizes[6:] == [2, 2]
    assert smaller.limit == 2


def test_the_cpus_own_message_counts_as_out_of_memory():
    error = RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried")
    assert torch.equal(
        SmallerBatches()(Device(1, error), torch.ones(2))["twice"], torch.full((2,), 2.0)
    )


def test_one_row_that_does_not_fit_and_other_errors_are_raised():
    with pytest.raises(torch.OutOfMemoryError):
        SmallerBatches()(Device(0), torch.zeros(4))
    device = Device(1, RuntimeError("shapes do not match"))
    with pytest.raises(RuntimeError, match="shapes do not match"):
        SmallerBatches()(device, torch.zeros(4))
    assert device.sizes == [4]


def test_an_empty_batch_runs_once():
    assert SmallerBatches()(Device(1), torch.zeros(0, 3))["twice"].shape == (0, 3)
