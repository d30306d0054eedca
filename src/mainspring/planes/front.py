"""What stands first in the control plane: it hands each request to whom it is for."""

from __future__ import annotations

from mainspring.core.errors import Forbidden
from mainspring.protocols.mlflow.server import MlflowServer
from mainspring.protocols.native.app import check_caller
from mainspring.runtime.http.asgi import AsgiBridge
from mainspring.runtime.http.request import Request


class Front:
    """Sends each request to who answers it: calls of MLflow's clients at once, all else to the application."""

    def __init__(self, mlflow: MlflowServer, bridge: AsgiBridge) -> None:
        self._mlflow, self._bridge = mlflow, bridge
        self._usual_host = b""

    def handle(self, request: Request) -> None:
        """Answer one request."""
        if request.stream is None and self._is_let_in(request) and self._mlflow.handle(request):
            return
        self._bridge.handle(request)

    def _is_let_in(self, request: Request) -> bool:
        host, origin = request.header(b"host") or b"", request.header(b"origin")
        if host == self._usual_host and origin is None:
            return True
        try:
            check_caller(host.decode("latin-1"), None if origin is None else origin.decode("latin-1"))
        except Forbidden:
            return False  # The application says so.
        self._usual_host = host
        return True
