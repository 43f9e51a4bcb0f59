"""The few ways in which the studio says no.

Every message is written for the person who asked: what happened — what to do. Page, command line and scripts show
`message` as it is; anything that is not a StudioError is a defect of the studio and is reported as one.
"""


class StudioError(Exception):
    """Something went wrong that a person can act on; `message` is one line: what happened — what to do."""

    def __init__(self, message: str):
        super().__init__(message)
        self.message = message


class InvalidRequest(StudioError):
    """What was asked for is refused before anything ran; the message names the value and what is allowed."""


class Refused(InvalidRequest):
    """The content filter says no, to what was asked for or to what was drawn; nothing of it is kept."""


class Unavailable(StudioError):
    """It cannot be done here and now: weights missing, gated, offline or corrupt, or a part that is not installed."""


class Stopped(StudioError):
    """The run was ended before its last picture, by the person or by the deadline."""


class StorageError(StudioError):
    """The library could not be written or read: disk full, folder not writable, file damaged."""


DEFECT = "The studio itself failed, which is not your doing — its log says why; try again."
