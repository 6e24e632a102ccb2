"""The machine a result was measured on, and which of its processors server and load generator get."""

import os
import platform
from collections.abc import Mapping
from pathlib import Path

_CPUS = Path("/sys/devices/system/cpu")


def describe() -> dict[str, str | int]:
    """Return what decides how fast this machine is."""
    return {
        "cpu": _cpu_model(),
        "processors": os.cpu_count() or 1,
        "usable_processors": len(os.sched_getaffinity(0)),
        "kernel": platform.release(),
        "system": platform.freedesktop_os_release().get("PRETTY_NAME", "Linux"),
        "governor": _read(_CPUS / "cpu0/cpufreq/scaling_governor") or "not shown (a virtual machine)",
        "load_average": f"{os.getloadavg()[0]:.2f}",
    }


def choose_cores() -> tuple[int, int]:
    """Return a processor for the server and one for the load generator.

    They are hardware threads of different cores where there are two; the same one where there is only one, in which
    case CPU time still counts but rates mean nothing.
    """
    usable = sorted(os.sched_getaffinity(0))
    server = usable[0]
    siblings = _siblings(server)
    others = [cpu for cpu in usable if cpu not in siblings] or usable[1:] or usable
    return server, others[0]


def busy_ticks(cpu: int) -> int:
    """Return the clock ticks that `cpu` was not idle since the machine started."""
    for line in Path("/proc/stat").read_text().splitlines():
        name, *ticks = line.split()
        if name == f"cpu{cpu}":
            user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, ticks[:8])
            return user + nice + system + irq + softirq + steal
    raise LookupError(f"/proc/stat does not list processor {cpu}")


def summary(machine: Mapping[str, str | int]) -> str:
    """Return one line about a machine as `describe` saw it."""
    return (
        f"{machine['cpu']}, {machine['processors']} processors, Linux {machine['kernel']}, {machine['system']}, "
        f"governor {machine['governor']}"
    )


def _siblings(cpu: int) -> set[int]:
    text = _read(_CPUS / f"cpu{cpu}/topology/thread_siblings_list")
    found: set[int] = {cpu}
    for part in filter(None, text.split(",")):
        first, _, last = part.partition("-")
        found.update(range(int(first), int(last or first) + 1))
    return found


def _cpu_model() -> str:
    for line in _read(Path("/proc/cpuinfo")).splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
