"""How many processors this process may really use, and which of them a worker keeps to.

The smaller of the affinity mask and the cgroup's CPU quota: a container limited to two processors on a machine of
sixty-four gets two workers, not sixty-four.
"""

import math
import os
from pathlib import Path

_CGROUP_ROOT = Path("/sys/fs/cgroup")
_OWN_CGROUP = Path("/proc/self/cgroup")


def usable_cpus() -> int:
    """Return the number of processors to plan for, at least 1."""
    quota = cgroup_quota()
    return max(1, min(_affinity(), _affinity() if quota is None else math.ceil(quota)))


def pin(index: int) -> None:
    """Keep this process on one processor of those it may use; workers are dealt out in turn."""
    if hasattr(os, "sched_setaffinity"):
        allowed = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {allowed[index % len(allowed)]})


def _affinity() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def cgroup_quota(root: Path = _CGROUP_ROOT, membership: Path = _OWN_CGROUP) -> float | None:
    """Return the tightest CPU quota over this process's cgroup and its ancestors, in processors; None = no quota.

    Args:
        root: Where cgroup file systems are mounted.
        membership: The file that names this process's cgroups, one `id:controllers:path` a line.
    """
    quotas = []
    for line in _read(membership).splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers == "":  # the one hierarchy of cgroup v2
            quotas += [_quota_v2(folder) for folder in _upwards(root, path)]
        elif "cpu" in controllers.split(","):
            quotas += [_quota_v1(folder) for folder in _upwards(root / "cpu", path)]
    return min((quota for quota in quotas if quota is not None), default=None)


def _upwards(mount: Path, path: str) -> list[Path]:
    """Return the cgroup's folder and its ancestors; inside a container only the mount itself may exist."""
    folder = mount / path.lstrip("/")
    return [folder, *(parent for parent in folder.parents if parent == mount or mount in parent.parents)]


def _quota_v2(folder: Path) -> float | None:
    quota, _, period = _read(folder / "cpu.max").partition(" ")
    if not quota or quota.strip() == "max":
        return None
    return int(quota) / int(period)


def _quota_v1(folder: Path) -> float | None:
    quota, period = _read(folder / "cpu.cfs_quota_us"), _read(folder / "cpu.cfs_period_us")
    if not quota or not period or int(quota) <= 0:
        return None
    return int(quota) / int(period)


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""  # no such controller here: no quota from it
