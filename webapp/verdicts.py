"""What an exam came to, in one plain sentence."""

from typing import Literal

from webapp.learning import Exam, TrainingRun, is_error
from webapp.texts import count

Color = Literal["green", "orange", "gray"]


def sentence(run: TrainingRun) -> str:
    """Who stays or took over, by how much, and what is still missing; the run's own reason when it has no exam."""
    exam = run.exam
    if exam is None or exam.difference is None:
        return run.reason or "Nothing can be said of this exam."
    won = f"{_challenger(exam)} {_result(exam.difference, exam)} on {count(exam.rows, 'row')}"
    match run.verdict:
        case "promoted":
            return f"{run.version or 'The challenger'} replaced {exam.champion}: {won}."
        case "insufficient evidence":
            return f"{exam.champion} stays for now: {won}, but {_doubt(exam)}. More feedback will tell."
        case "rejected":
            return f"{exam.champion} stays: {won}{_missing(exam)}."
        case "superseded":
            return f"Another version took over before the exam of {exam.champion} ended; it changed nothing."
        case _:
            return f"The verdict is not out yet: {won}."


def color(verdict: str) -> Color:
    """The colour of the verdict's badge."""
    return "green" if verdict == "promoted" else "orange" if verdict == "insufficient evidence" else "gray"


def is_by_several(exam: Exam) -> bool:
    """Whether the gain is not of one challenger: each part of the rows is answered by whoever led before it."""
    best = next((one for one in exam.challengers if one.name == exam.challenger), None)
    return best is not None and best.score != exam.challenger_score


def amount(gain: float, exam: Exam) -> str:
    """A gain or a loss without its sign, in the exam's unit."""
    return f"{abs(gain):.1%} of the error" if is_error(exam.metric) else f"{abs(gain):.3f}"


def _challenger(exam: Exam) -> str:
    if is_by_several(exam):
        return "the leading challengers"
    return exam.challenger.replace("_", " ") + ("," if "," in exam.challenger else "")


def _result(difference: float, exam: Exam) -> str:
    if round(difference, 4) == 0:
        return "did as well"
    if is_error(exam.metric):
        return f"{'saved' if difference > 0 else 'added'} {amount(difference, exam)}"
    return f"{'won' if difference > 0 else 'lost'} by {amount(difference, exam)}"


def _doubt(exam: Exam) -> str:
    if exam.lower is None:
        return "there are too few rows to say how sure that is"
    if exam.difference == 0:
        return "nothing speaks for a change"
    if exam.strict:
        return f"the gain must be surely above {amount(exam.margin, exam)}"
    return f"it may really be worse by {amount(exam.lower, exam)}, and {amount(exam.tolerance, exam)} is tolerated"


def _missing(exam: Exam) -> str:
    if exam.difference is not None and exam.difference >= 0 and exam.margin > 0:
        return f", where more than {amount(exam.margin, exam)} is asked for"
    return ""
