"""The exceptions that callers of this package may catch."""


class TidegateError(Exception):
    """Tidegate refused a request, or gave no answer in time.

    Raised only by calls that wait for an answer (`Tidegate.identify`); checks
    and recording never raise because of the network. `status` is the HTTP
    status, or None when there was no answer.
    """

    def __init__(self, message: str, status: "int | None" = None) -> None:
        super().__init__(message)
        self.status = status
