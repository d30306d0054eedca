"""An S3 endpoint on loopback, run as a process of its own: moto's server, one request at a time.

moto checks a precondition (If-None-Match: *) and writes in two steps; S3 does both in one. The lock makes it so here,
else two writers that race for one key could both be told that they won.
"""

import sys
import threading
from collections.abc import Callable, Iterable
from typing import Any

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import run_simple


class OneAtATime:
    def __init__(self, application: Callable[[Any, Any], Iterable[bytes]]) -> None:
        self._application = application
        self._turn = threading.Lock()

    def __call__(self, environment: Any, start_response: Any) -> list[bytes]:
        with self._turn:
            return list(self._application(environment, start_response))


def main(port: int) -> None:
    application = OneAtATime(DomainDispatcherApplication(create_backend_app))
    run_simple("127.0.0.1", port, application, threaded=True, request_handler=MotoRequestHandler)


if __name__ == "__main__":
    main(int(sys.argv[1]))
