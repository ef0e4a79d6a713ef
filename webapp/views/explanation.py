"""Why this prediction: what each column adds to the answer, once somebody asks."""

import streamlit as st

from webapp import charts
from webapp.answers import Explanation, Prediction, label_text, number_text
from webapp.client import ApiClient, ApiDown, ApiProblem
from webapp.schema import Schema
from webapp.texts import plain, show_error


def show(api: ApiClient, prediction: Prediction, schema: Schema) -> None:
    """A button that asks the version that made the prediction; in its place, what it answered."""
    with st.container(border=True, key="why"):
        asked_for, found = st.session_state.get("explanation", (None, None))
        if asked_for != prediction.prediction_id:
            if not st.button("Why this prediction?", key="explain", type="tertiary", icon=":material/lightbulb:"):
                return
            try:
                with st.spinner("Asking the model…"):
                    found = api.explain(prediction.prediction_id)
            except (ApiDown, ApiProblem) as error:
                show_error(error)
                return
            st.session_state["explanation"] = (prediction.prediction_id, found)
            st.rerun()
        if isinstance(found, Explanation):
            _show(found, prediction, schema)


def _show(found: Explanation, prediction: Prediction, schema: Schema) -> None:
    answer = plain(label_text(prediction.prediction))
    st.markdown(f"**Why {answer}?** {_sentence(found, schema)}")
    st.altair_chart(charts.contributions(found.contributions, lambda amount: _signed(amount, found, schema)))
    st.caption(f"{_legend(answer, found, schema)} {_certainty(found, schema)}")


def _sentence(found: Explanation, schema: Schema) -> str:
    """From base to output, in the unit of the explanation."""
    name = plain(f"The predicted {schema.target}" if schema.is_numeric else f"The {found.scale}")
    base, output = (plain(_amount(number, found, schema)) for number in (found.base, found.output))
    verb = "are" if _is_log_odds(found, schema) else "is"
    return f"{name} {verb} {base} on average, and **{output}** here."


def _legend(answer: str, found: Explanation, schema: Schema) -> str:
    if schema.is_numeric:
        return "Bars to the right raise it, bars to the left lower it."
    unit = " Log-odds of 0 are fifty-fifty, of 2.2 nine to one." if _is_log_odds(found, schema) else ""
    return f"Bars to the right speak for {answer}, bars to the left against it.{unit}"


def _is_log_odds(found: Explanation, schema: Schema) -> bool:
    return not schema.is_numeric and found.scale.startswith("log-odds")


def _certainty(found: Explanation, schema: Schema) -> str:
    how = "Exact"
    if found.method != "linear":
        error = found.standard_error
        how = "By sampling" + (
            "" if error is None else f", give or take {plain(_amount(error, found, schema, digits=2))}"
        )
    return f"{how}, against {plain(found.background)}. It explains the model, not the world."


def _signed(number: float, found: Explanation, schema: Schema) -> str:
    return ("+" if number >= 0 else "") + _amount(number, found, schema, digits=3)


def _amount(number: float, found: Explanation, schema: Schema, digits: int = 4) -> str:
    if schema.is_numeric:
        text = number_text(number, digits)
    else:
        text = f"{number:.2f}" if _is_log_odds(found, schema) else f"{number:.1%}"
    return text.replace("-", "−")  # noqa: RUF001 (a minus as wide as the plus)
