"""How the sandbox says no: one exception that carries the status and the platform's documented error body."""

from typing import Any


class Refusal(Exception):  # noqa: N818 - an answer of the platform, not an error of the program
    """An answer other than 2xx.

    Attributes:
        status: The HTTP status code.
        error: The platform's short word for it, such as `validation_error`.
        description: A sentence for a person.
    """

    def __init__(self, status: int, error: str, description: str) -> None:
        super().__init__(f"{status} {error}: {description}")
        self.status = status
        self.error = error
        self.description = description

    def body(self) -> dict[str, Any]:
        """The documented shape of a v2 error."""
        return {
            "status": "error",
            "error": self.error,
            "description": self.description,
            "message": self.description,
        }


def invalid(description: str) -> Refusal:
    """400: the request is not one that the API knows, or breaks a rule of the field."""
    return Refusal(400, "validation_error", description)


def unauthorized(description: str) -> Refusal:
    """401: the token or the environment is not known."""
    return Refusal(401, "unauthorized", description)


def forbidden(description: str) -> Refusal:
    """403: known, but this user may not."""
    return Refusal(403, "forbidden", description)


def not_found(description: str) -> Refusal:
    """404: not there, or invisible to this user."""
    return Refusal(404, "not_found", description)
