"""Run as a program: starts a command in a process group of its own and ends the group when standard input closes.

Whoever asked for the command holds the other end of that pipe, so the command cannot outlive it, even if it was killed.
`files.end_with` can't do this: it runs inside the process that is to end, and a command is somebody else's program.
"""

import contextlib
import os
import signal
import subprocess
import sys
import threading

NOT_STARTED = 127
"""Exit status where there is no such program, as a shell has it."""


def main(arguments: list[str]) -> int:
    """Run a command to its end; returns its exit status, 128 and the signal's number where a signal ended it."""
    try:
        command = subprocess.Popen(arguments, stdin=subprocess.DEVNULL, start_new_session=True)
    except OSError as error:
        print(f"{arguments[0]}: {error.strerror}", file=sys.stderr)
        return NOT_STARTED

    def end_with_standard_input() -> None:
        while os.read(0, 1024):
            pass
        _end_group(command)

    threading.Thread(target=end_with_standard_input, daemon=True).start()
    try:
        status = command.wait()
    finally:
        # Also what the command left running in the background: its result counts as complete from here on.
        _end_group(command)
    return 128 - status if status < 0 else status


def _end_group(command: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(command.pid, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
