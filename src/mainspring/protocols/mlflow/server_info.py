"""What the server can, as its clients ask before they use it."""

from __future__ import annotations

import msgspec

from mainspring.protocols.mlflow.calls import CallList, Empty, Services

calls = CallList("/3.0/mlflow")


class ServerInfo(msgspec.Struct, frozen=True):
    """What is there and what is not."""

    store_type: str = "SqlStore"
    workspaces_enabled: bool = False
    trace_archival_enabled: bool = False
    multipart_uploads_enabled: bool = True
    multipart_downloads_enabled: bool = False
    presigned_upload_run_id_supported: bool = False
    presigned_upload_model_id_supported: bool = False
    features_enabled: dict[str, bool] = msgspec.field(default_factory=lambda: {"gateway": False})


@calls.on("GET", "server-info")
def server_info(services: Services, ask: Empty) -> ServerInfo:
    """Tell what the server can."""
    return ServerInfo()
