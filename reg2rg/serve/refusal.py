"""What is not accepted, and why, in words that say nothing about a patient."""

from enum import StrEnum

from reg2rg.errors import InputError


class Reason(StrEnum):
    """Why something was refused; metrics count by it."""

    NOT_DICOM = "not_dicom"
    TOO_LARGE = "too_large"
    DISK_FULL = "disk_full"
    TOO_OFTEN = "too_often"
    NOT_ALLOWED = "not_allowed"
    NOT_POSSIBLE = "not_possible"


class Refusal(InputError):
    """Something that came in over the network and is not accepted; `reason` says why."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class Unreachable(Exception):
    """Another server does not answer, or not now: to be tried again."""
