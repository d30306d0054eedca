"""Every error that Mainspring raises on purpose, with its code, HTTP status and whether a retry can help.

MainspringError            500 internal
├── InvalidRequest         400 invalid_request     the call itself is malformed
├── Unauthenticated        401 unauthenticated
├── Forbidden              403 forbidden
│   └── UnsafeModel        403 unsafe_model        files that would run code when they are loaded
├── NotFound               404 not_found
├── MethodNotAllowed       405 method_not_allowed
├── Conflict               409 conflict            the thing changed, or stands in the way
│   ├── AlreadyExists      409 already_exists
│   ├── GateRefused        409 gate_refused
│   │   └── ApprovalNeeded 409 approval_needed
│   └── StaleLease         409 stale_lease
├── TooLarge               413 too_large
├── Unsupported            415 unsupported
├── InvalidData            422 invalid_data        the call is fine, the data in it is not
│   └── QualityFailed      422 quality_failed
├── OverLimit              429 over_limit          retryable
├── Corrupt                500 corrupt             stored bytes are not what was written
├── SchemaTooNew           500 schema_too_new      the database was written by a newer Mainspring
├── MissingExtra           501 missing_extra       an optional dependency is not installed
└── Unavailable            503 unavailable         retryable
"""

from __future__ import annotations

from collections.abc import Iterator


class MainspringError(Exception):
    """Something went wrong inside Mainspring."""

    code = "internal"
    status = 500
    retryable = False

    def __init__(self, message: str = "", **facts: object) -> None:
        super().__init__(message or (self.__doc__ or "").strip())
        self.facts = facts


class InvalidRequest(MainspringError):
    """The request is malformed."""

    code, status = "invalid_request", 400


class Unauthenticated(MainspringError):
    """The caller did not say who they are."""

    code, status = "unauthenticated", 401


class Forbidden(MainspringError):
    """The caller may not do this."""

    code, status = "forbidden", 403


class UnsafeModel(Forbidden):
    """The files of a model would run code of their own when they are loaded."""

    code = "unsafe_model"


class NotFound(MainspringError):
    """Nothing with this name exists."""

    code, status = "not_found", 404


class MethodNotAllowed(MainspringError):
    """Nothing at this address takes this HTTP method; the fact ``allow`` lists those that are taken."""

    code, status = "method_not_allowed", 405


class Conflict(MainspringError):
    """The thing changed, or something stands in the way."""

    code, status = "conflict", 409


class AlreadyExists(Conflict):
    """Something with this name exists already."""

    code = "already_exists"


class GateRefused(Conflict):
    """A validation gate refused the promotion."""

    code = "gate_refused"


class ApprovalNeeded(GateRefused):
    """Somebody else has to agree first."""

    code = "approval_needed"


class StaleLease(Conflict):
    """Another worker holds the lease now."""

    code = "stale_lease"


class TooLarge(MainspringError):
    """The request is larger than is allowed."""

    code, status = "too_large", 413


class Unsupported(MainspringError):
    """This format, driver or platform is not supported."""

    code, status = "unsupported", 415


class InvalidData(MainspringError):
    """The data does not have the form that was declared or needed."""

    code, status = "invalid_data", 422


class QualityFailed(InvalidData):
    """The data failed its expectations."""

    code = "quality_failed"


class OverLimit(MainspringError):
    """A bounded queue or a rate limit is full; try again later."""

    code, status, retryable = "over_limit", 429, True


class Corrupt(MainspringError):
    """Stored bytes are not what was written."""

    code = "corrupt"


class SchemaTooNew(MainspringError):
    """The database was written by a newer Mainspring."""

    code = "schema_too_new"


class MissingExtra(MainspringError):
    """An optional dependency is not installed."""

    code, status = "missing_extra", 501


class Unavailable(MainspringError):
    """Something that is needed does not answer; try again later."""

    code, status, retryable = "unavailable", 503, True


def _tree(root: type[MainspringError]) -> Iterator[type[MainspringError]]:
    yield root
    for child in root.__subclasses__():
        yield from _tree(child)


BY_CODE: dict[str, type[MainspringError]] = {cls.code: cls for cls in _tree(MainspringError)}
