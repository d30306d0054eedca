"""Keeps one server alive for as long as whoever started it: runs the given command, ends it at end of input.

Started by `tests.servers` with a pipe as standard input. The kernel closes that pipe however the test process ends,
so not even kill -9 of pytest leaves a server behind. Arguments: folder to remove at the end, user id, group id (-1:
stay as we are), then the command.
"""

import shutil
import signal
import subprocess
import sys
import threading

GRACE_S = 5.0


def main() -> int:
    folder, user, group, *command = sys.argv[1:]
    # A Ctrl-C at the terminal reaches the whole process group: the tests still need the server while they finish.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    identity = {"user": int(user), "group": int(group), "extra_groups": []} if int(user) >= 0 else {}
    server = subprocess.Popen(command, stdin=subprocess.DEVNULL, **identity)  # type: ignore[call-overload]
    threading.Thread(target=_end_at_end_of_input, args=(server,), daemon=True).start()
    code = int(server.wait())
    shutil.rmtree(folder, ignore_errors=True)
    return code


def _end_at_end_of_input(server: "subprocess.Popen[bytes]") -> None:
    sys.stdin.buffer.read()
    server.send_signal(signal.SIGQUIT if sys.argv[4].endswith("/postgres") else signal.SIGTERM)
    try:
        server.wait(GRACE_S)
    except subprocess.TimeoutExpired:
        server.kill()


if __name__ == "__main__":
    sys.exit(main())
