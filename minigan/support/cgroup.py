"""Limits that a container sets on this process: control groups of Linux, version 1 and version 2.

A group's limits also bind the groups inside it, so the least of all counts, from this process's own group up to the
root of what is mounted here. A container sees its own group as that root. Sources: Linux's
Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/, man 5 proc for /proc/self/cgroup and mountinfo.
"""

import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

__all__ = ["allowed_cpus", "allowed_memory", "allowed_processes"]

UNLIMITED = 2**60  # version 1 writes no limit as the largest multiple of a page; no machine has an exbibyte
MOUNTED = PurePosixPath("/sys/fs/cgroup")  # where every system has them; a controller's tree of version 1 is below


def allowed_memory(root: Path = Path("/")) -> int | None:
    """The memory in bytes that this process's groups allow; None if they set no limit.

    Args:
        root: of the file system; another one for tests.
    """
    found = [_number(group / "memory.max") for group in _groups(root, "")]
    found += [_number(group / "memory.limit_in_bytes") for group in _groups(root, "memory")]
    return min((limit for limit in found if limit is not None and limit < UNLIMITED), default=None)


def allowed_cpus(root: Path = Path("/")) -> float | None:
    """The CPU time in CPUs that this process's groups allow, such as 1.5; None if they set no limit.

    Args:
        root: of the file system; another one for tests.
    """
    found = [_share(_text(group / "cpu.max")) for group in _groups(root, "")]
    quotas = [[_text(group / f"cpu.cfs_{of}_us") for of in ("quota", "period")] for group in _groups(root, "cpu")]
    found += [_share(" ".join(quota)) for quota in quotas]
    return min((limit for limit in found if limit is not None), default=None)


def allowed_processes(root: Path = Path("/")) -> int | None:
    """The number of processes and threads that this process's groups allow; None if they set no limit.

    Args:
        root: of the file system; another one for tests.
    """
    groups = [*_groups(root, ""), *_groups(root, "pids")]
    return min((limit for group in groups if (limit := _number(group / "pids.max")) is not None), default=None)


def _number(path: Path) -> int | None:
    text = _text(path)
    return int(text) if text.isdecimal() else None


def _share(text: str) -> float | None:
    """Quota by period: `150000 100000` is 1.5 CPUs; None for `max 100000` and for a quota of -1."""
    quota, _, period = text.partition(" ")
    return int(quota) / int(period) if quota.isdecimal() and period.isdecimal() and int(quota) * int(period) else None


def _groups(root: Path, controller: str) -> Iterator[Path]:
    """Folders of this process's group and of those around it, as far as they can be seen here.

    Args:
        controller: of version 1; "" for version 2, which has one tree for all of them.
    """
    own, mounts = _own_group(root, controller), list(_mounts(root, controller))
    for mounted, at in mounts or [("/", MOUNTED / controller)]:
        inside = _below(own, mounted)
        for folder in (inside, *inside.parents):
            yield root / at.relative_to("/") / folder


def _below(own: str, mounted: str) -> PurePosixPath:
    """The path of a group below what is mounted; the mounted group itself if it does not lie below that."""
    try:
        inside = PurePosixPath(own).relative_to(mounted)
    except ValueError:
        return PurePosixPath()
    return PurePosixPath() if ".." in inside.parts else inside


def _own_group(root: Path, controller: str) -> str:
    """The path of this process's group: lines of /proc/self/cgroup are NUMBER:CONTROLLERS:PATH."""
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controller in controllers.split(","):
            return path
    return "/"


def _mounts(root: Path, controller: str) -> Iterator[tuple[str, PurePosixPath]]:
    """The groups that are mounted, and where: /proc/self/mountinfo has both in a line, its kind behind a dash."""
    kind = "cgroup" if controller else "cgroup2"
    for line in _text(root / "proc/self/mountinfo").splitlines():
        left, _, right = line.partition(" - ")
        fields, described = left.split(" "), right.split(" ")
        if len(fields) < 5 or described[0] != kind or not fields[4].startswith("/"):
            continue
        if not controller or controller in described[-1].split(","):
            yield _plain(fields[3]), PurePosixPath(_plain(fields[4]))


def _plain(field: str) -> str:
    r"""A field of mountinfo, where spaces and backslashes are octal: `\040`."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), field)


def _text(path: Path) -> str:
    """A file's content; "" if it is missing or cannot be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
