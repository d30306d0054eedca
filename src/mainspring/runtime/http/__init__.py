"""The HTTP/1.1 server of the hot path: no task, coroutine or timer per request or connection."""
