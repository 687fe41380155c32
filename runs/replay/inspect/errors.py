"""What can go wrong when somebody looks into a snapshot, beside the snapshot itself being gone.

InspectError
  TooManyEvaluations   too many at once, or too many in a short time
  VariableAbsent       the step has no variable of this name
  VariableNotHeld      it had one, which the snapshot does not hold
  CannotExport         the value is not of a kind that the format can hold
  BadRequest           the expression, the name or the format is not acceptable
  AnswerUnreadable     what came back from the sandbox is not what our program prints
"""

from __future__ import annotations


class InspectError(Exception):
    """`type` and `status` (of HTTP) are stable; the message says what was wrong and `hint` what to do."""

    type = "inspect_failed"
    status = 422

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class TooManyEvaluations(InspectError):
    type = "too_many_evaluations"
    status = 429

    def __init__(self, message: str, retry_after_s: int) -> None:
        super().__init__(message, f"Try again in {retry_after_s} s.")
        self.retry_after_s = retry_after_s


class VariableAbsent(InspectError):
    type = "variable_absent"
    status = 404


class VariableNotHeld(InspectError):
    type = "variable_not_held"
    status = 409


class CannotExport(InspectError):
    type = "cannot_export"


class BadRequest(InspectError):
    type = "invalid_request"


class AnswerUnreadable(InspectError):
    type = "answer_unreadable"
    status = 502


def sentence(error: Exception) -> str:
    """The message as a sentence for people."""
    text = str(error)
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "!", "?")) else ".")
