"""A real Slurm of one node with two pretend GPUs, started and stopped without systemd.

Needs root and Debian's slurm-wlm, slurmctld, slurmd, slurm-client and munge (and for accounting
slurmdbd and mariadb-server). `python tests/slurm/cluster.py start [--accounting]`, `… stop`.

It writes /etc/slurm and kills every Slurm daemon of the machine, so it starts only where
CLIP_SAE_MAY_KILL_SLURMD=1 states that no other user's Slurm runs there. The pretend GPUs are device
nodes that alias /dev/null, so a job sees CUDA_VISIBLE_DEVICES but no CUDA, and computes on the CPU.
"""

import argparse
import os
import shutil
import socket
import subprocess
import time
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(os.environ.get("SLURM_TEST_ROOT", "/tmp/clip-sae-slurm"))
ETC = Path("/etc/slurm")
CONFIGURATION = ("slurm.conf", "gres.conf", "cgroup.conf", "slurmdbd.conf")
DAEMONS = ("munged", "slurmctld", "slurmd")
GPUS = 2
DATABASE = "clip_sae_slurm"


def missing(accounting: bool = False) -> str:
    """Return the reason why Slurm cannot start here; empty if it can."""
    programs = DAEMONS + (("slurmdbd", "mariadbd") if accounting else ())
    absent = [name for name in programs if shutil.which(name, path=_path()) is None]
    if absent:
        return f"{', '.join(absent)} not installed (Debian: slurm-wlm slurmd munge …)"
    if os.environ.get("CLIP_SAE_MAY_KILL_SLURMD") != "1":
        return "kills any Slurm of this machine: CLIP_SAE_MAY_KILL_SLURMD=1 allows it"
    if find_spec("snakemake_executor_plugin_slurm") is None:
        return "snakemake-executor-plugin-slurm not installed (envs/cluster.txt)"
    return "" if os.geteuid() == 0 else "a Slurm of one's own needs root"


def start(accounting: bool = False) -> None:
    """Start munge, the database if wanted, the controller and the node; wait until it is idle."""
    if reason := missing(accounting):
        raise SystemExit(f"cluster.py: {reason}")
    stop()
    for folder in ("state", "spool", "log", "run"):
        (ROOT / folder).mkdir(parents=True, exist_ok=True)
    _munge()
    for i in range(GPUS):
        if not Path(f"/dev/fakegpu{i}").exists():
            _run("mknod", f"/dev/fakegpu{i}", "c", "1", "3")
    ETC.mkdir(exist_ok=True)
    (ETC / "slurm.conf").write_text(_conf(accounting))
    (ETC / "gres.conf").write_text(f"NodeName={_host()} Name=gpu File=/dev/fakegpu[0-{GPUS - 1}]\n")
    (ETC / "cgroup.conf").write_text("CgroupPlugin=cgroup/v1\nCgroupAutomount=no\n")
    if accounting:
        _database()
    _run("slurmctld", "-c")  # -c: forget jobs of another start
    start_node()


def start_node() -> None:
    """Start the node's daemon, as after a crash, and wait until the node takes jobs."""
    _run("slurmd")
    _wait("the node", lambda: _output("sinfo", "-h", "-o", "%T").startswith(("idle", "mix")))


def kill_node() -> None:
    """Kill the node's daemon and all processes of its jobs, as when a node drops."""
    subprocess.run(["pkill", "-9", "-x", "slurmd"], check=False)
    subprocess.run(["pkill", "-9", "-x", "slurmstepd"], check=False)


def stop() -> None:
    """Stop everything that `start` started, if it runs."""
    for name in ("slurmd", "slurmstepd", "slurmctld", "slurmdbd"):
        subprocess.run(["pkill", "-9", "-x", name], check=False)
    _wait("the end of Slurm", lambda: not any(_running(n) for n in ("slurmd", "slurmctld")))
    socket_path = ROOT / "run/mariadb.sock"
    if socket_path.exists():
        subprocess.run(["mariadb-admin", f"--socket={socket_path}", "shutdown"], check=False)
    shutil.rmtree(ROOT / "state", ignore_errors=True)
    for name in CONFIGURATION:  # without a controller, Slurm's clients would wait 9 s for one each
        (ETC / name).unlink(missing_ok=True)


def _conf(accounting: bool) -> str:
    host = _host()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20 - 512
    storage = "accounting_storage/slurmdbd" if accounting else "accounting_storage/none"
    gather, account = "jobacct_gather/none", ""
    if accounting:  # checks each job's memory every second, and kills jobs above their limit
        gather = "jobacct_gather/linux\nJobAcctGatherFrequency=1\n"
        gather += "JobAcctGatherParams=OverMemoryKill,UsePss"
        account = f"AccountingStorageHost={host}\n"
    return f"""ClusterName=ci
SlurmctldHost={host}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CredType=cred/munge
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
ReturnToService=2
SlurmdTimeout=20
StateSaveLocation={ROOT}/state
SlurmdSpoolDir={ROOT}/spool
SlurmctldPidFile={ROOT}/run/slurmctld.pid
SlurmdPidFile={ROOT}/run/slurmd.pid
SlurmctldLogFile={ROOT}/log/slurmctld.log
SlurmdLogFile={ROOT}/log/slurmd.log
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=2,bf_interval=2
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
GresTypes=gpu
MaxJobCount=20000
MinJobAge=600
KillWait=5
JobAcctGatherType={gather}
AccountingStorageType={storage}
{account}NodeName={host} CPUs={os.cpu_count()} RealMemory={memory} Gres=gpu:{GPUS} State=UNKNOWN
PartitionName=cpu Nodes={host} Default=YES MaxTime=INFINITE State=UP DefMemPerCPU=200
PartitionName=gpu Nodes={host} MaxTime=INFINITE State=UP DefMemPerCPU=200
"""


def _munge() -> None:
    run, key = Path("/run/munge"), Path("/etc/munge/munge.key")
    run.mkdir(exist_ok=True)
    shutil.chown(run, "munge", "munge")
    if not key.exists() or not key.stat().st_size:
        _run("mungekey", "-f", "-c")
    shutil.chown(key, "munge", "munge")
    if not _running("munged"):
        _run("runuser", "-u", "munge", "--", "/usr/sbin/munged")


def _database() -> None:
    """Start MariaDB with its own socket, slurmdbd on it, and an account for root's jobs."""
    data, socket_path = ROOT / "mariadb", ROOT / "run/mariadb.sock"
    if not data.exists():
        _run("mariadb-install-db", f"--datadir={data}", "--user=root", "--skip-test-db")
    log = open(ROOT / "log/mariadb.log", "ab")  # noqa: SIM115 - the server writes to it
    command = ["mariadbd", "--no-defaults", "--user=root", f"--datadir={data}"]
    command += [
        f"--socket={socket_path}",
        "--skip-networking",
        f"--pid-file={ROOT}/run/mariadb.pid",
    ]
    subprocess.Popen(command, stdout=log, stderr=log, env=os.environ | {"PATH": _path()})
    _wait("MariaDB", lambda: not _code("mariadb-admin", f"--socket={socket_path}", "ping"))
    _run("mariadb", f"--socket={socket_path}", "-e", f"create database if not exists {DATABASE}")
    conf = ETC / "slurmdbd.conf"
    conf.write_text(
        f"AuthType=auth/munge\nDbdHost={_host()}\nSlurmUser=root\nLogFile={ROOT}/log/slurmdbd.log\n"
        f"PidFile={ROOT}/run/slurmdbd.pid\nStorageType=accounting_storage/mysql\n"
        f"StorageHost=localhost\nStorageLoc={DATABASE}\nStorageUser=root\n"
    )
    conf.chmod(0o600)  # slurmdbd refuses one that others can read
    os.environ["MYSQL_UNIX_PORT"] = str(socket_path)
    _run("slurmdbd")
    _wait("slurmdbd", lambda: not _code("sacctmgr", "-i", "list", "cluster"))
    for entity in (["cluster", "ci"], ["account", "ci"], ["user", "root", "account=ci"]):
        subprocess.run(["sacctmgr", "-i", "add", *entity], check=False, capture_output=True)


def _path() -> str:
    return f"{os.environ['PATH']}:/usr/sbin:/sbin"


def _host() -> str:
    return socket.gethostname().split(".")[0]


def _run(*command: str) -> None:
    subprocess.run(command, check=True, env=os.environ | {"PATH": _path()})


def _code(*command: str) -> int:
    return subprocess.run(command, capture_output=True, check=False).returncode


def _output(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


def _running(name: str) -> bool:
    return not _code("pgrep", "-x", name)


def _wait(what: str, ready, seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > end:
            raise SystemExit(
                f"cluster.py: {what} did not come within {seconds:.0f} s; see {ROOT}/log"
            )
        time.sleep(0.3)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("verb", choices=("start", "stop"))
    parser.add_argument("--accounting", action="store_true", help="with slurmdbd and MariaDB")
    options = parser.parse_args()
    start(options.accounting) if options.verb == "start" else stop()
