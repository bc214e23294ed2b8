"""The GPUs of this machine, counted without torch, and exclusive claims on them.

Snakemake counts GPUs but does not say which one a job may use. Standard library only.
"""

import fcntl
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from glob import glob
from pathlib import Path
from typing import BinaryIO

# Devices that a scheduler shows a process belong to its allocation, in which several jobs may run,
# as on a whole node. A device "0" of two allocations may be two devices.
SCHEDULERS = ("SLURM_JOB_ID", "KUBERNETES_SERVICE_HOST")
POLL_SECONDS = 1.0


def local_gpus() -> int:
    """Return the number of NVIDIA devices that processes started here may use, without torch.

    CUDA_VISIBLE_DEVICES counts if it is set: "" hides all of them.
    """
    return len(visible_gpus())


def visible_gpus() -> list[str]:
    """Return device names for CUDA_VISIBLE_DEVICES: those that it holds, else "0", "1", …"""
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is not None:
        return [name.strip() for name in chosen.split(",") if name.strip() not in ("", "-1")]
    return [str(i) for i in range(len(glob("/dev/nvidia[0-9]*")))]


class GpuClaim:
    """An exclusive claim of this process on devices, until it ends.

    Each device has a lock file; the kernel frees a lock when its process dies, however it dies (a
    record lock, so forked workers do not keep it). If a scheduler shows at most n devices, it has
    chosen already and nothing is locked. If it shows more, the jobs of the same allocation lock
    them.

    Args:
        n: requested devices; fewer are claimed if fewer are visible.
        folder: of the lock files; all users of the machine must see the same one.
        say: called once if all devices are taken, with the processes that hold them.

    Attributes:
        devices: names of the claimed devices; CUDA_VISIBLE_DEVICES holds them from then on.
    """

    def __init__(
        self, n: int, *, folder: Path | None = None, say: Callable[[str], None] = print
    ) -> None:
        self.devices, self._files = visible_gpus(), []
        scheduled = any(name in os.environ for name in SCHEDULERS)
        if not self.devices or n < 1 or (scheduled and len(self.devices) <= n):
            return
        allocation = f"-{os.environ['SLURM_JOB_ID']}" if "SLURM_JOB_ID" in os.environ else ""
        self._folder = folder or Path(tempfile.gettempdir()) / f"clip-sae-gpus{allocation}"
        self._folder.mkdir(exist_ok=True)
        if self._folder.stat().st_uid == os.getuid():
            self._folder.chmod(0o1777)  # like /tmp: others may add their locks, not remove ours
        self._wait(min(n, len(self.devices)), say)
        os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(self.devices)

    def _wait(self, n: int, say: Callable[[str], None]) -> None:
        candidates, said = self.devices, False
        while True:
            # All or none: two jobs that each wait for the other's device would wait for ever.
            taken = dict(list(self._free(candidates))[:n])
            if len(taken) == n:
                self.devices, self._files = [*taken], [*taken.values()]
                return
            for file in taken.values():
                file.close()
            if not said:
                say(f"waiting for {n} of the GPUs {', '.join(candidates)}: {self._holders()}")
                said = True
            time.sleep(POLL_SECONDS)

    def _free(self, candidates: list[str]) -> Iterator[tuple[str, BinaryIO]]:
        for name in candidates:
            # Not O_CREAT: in a folder like /tmp the kernel may refuse it for another user's file.
            file = open(self._path(name), "r+b", buffering=0)  # noqa: SIM115 - open with the claim
            try:
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                file.close()
                continue
            file.truncate(0)
            file.write(f"{os.getpid()}\n".encode())
            file.flush()
            yield name, file

    def _path(self, name: str) -> Path:
        path = self._folder / f"gpu-{name.replace('/', '_')}.lock"
        if not path.exists():
            os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o666))
            path.chmod(0o666)  # whatever the umask: the next user locks the same file
        return path

    def _holders(self) -> str:
        pids = {f.name: f.read_text().strip() for f in sorted(self._folder.glob("gpu-*.lock"))}
        return "held by process " + ", ".join(pid for pid in pids.values() if pid)

    def release(self) -> None:
        """Free the devices before the process ends."""
        for file in self._files:
            file.close()
        self._files = []
