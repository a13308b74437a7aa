"""What stands between our process and a server of ours: it becomes the server by `exec`.

Run by its path with `python -I -S`, it gives up root if asked to, then asks the kernel for a
signal at the death of the parent (in this order: a change of user clears that wish), so that even
`kill -9` of the parent leaves no server behind. A program of its own rather than a `preexec_fn`:
code between fork and exec is not safe in a process with threads.
"""

import ctypes
import os
import sys

_PR_SET_PDEATHSIG = 1
_NOT_STARTED = 127


def die_with_parent(death_signal: int) -> None:
    """Ask the kernel for this signal when the parent ends in any way; other than Linux cannot."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, death_signal)


def become(parent: int, death_signal: int, owner: str, command: list[str]) -> None:
    """Turn this process into `command`, as the user "uid:gid" (or "" for the same user)."""
    if owner:
        uid, gid = (int(number) for number in owner.split(":"))
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)
    die_with_parent(death_signal)
    if os.getppid() != parent:
        sys.exit(_NOT_STARTED)
    os.execv(command[0], command)  # noqa: S606 - the command comes from our own code, no shell


if __name__ == "__main__":
    become(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4:])
