"""One datum: a form generated from the API's schema, the answer beside it, and the label given back."""

import streamlit as st

from webapp import charts, form
from webapp.answers import Feedback, Label, Prediction, label_text, number_text
from webapp.client import ApiClient, ApiDown, ApiProblem
from webapp.schema import Schema
from webapp.texts import next_retraining, plain, set_aside, show_error
from webapp.views import explanation

# More labels than this do not fit on one line.
MOST_RADIO_LABELS = 6
OTHER = "another…"


def show(api: ApiClient, schema: Schema) -> None:
    """The form at the left; what the model answers, and the label given back, at the right."""
    st.title("Predict")
    st.caption(f"{plain(schema.project)}: fill in one row, see what the model makes of it, tell it what is true.")
    left, right = st.columns([13, 8], gap="large")
    with left, st.form("datum", border=True):
        datum = form.show(schema)
        asked = st.form_submit_button("Predict", key="predict", type="primary", icon=":material/online_prediction:")
    with right:
        if asked:
            st.session_state.pop("receipt", None)
            try:
                st.session_state["prediction"] = api.predict(datum)
            except (ApiDown, ApiProblem) as error:
                st.session_state.pop("prediction", None)
                show_error(error)
                return
        prediction = st.session_state.get("prediction")
        if isinstance(prediction, Prediction):
            _show_prediction(prediction, schema)
            explanation.show(api, prediction, schema)
            _show_feedback(api, prediction, schema)
        else:
            _show_hint()


def _show_hint() -> None:
    with st.container(border=True, key="hint"):
        st.markdown("**No prediction yet**")
        st.caption("The form holds a real row of the reference data. Change what you like and press Predict.")


def _show_prediction(prediction: Prediction, schema: Schema) -> None:
    answer = label_text(prediction.prediction)
    with st.container(border=True, key="result"):
        with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
            st.caption(f"Predicted {plain(schema.target)}", width="content")
            with st.container(key="model_version", width="content"):
                st.badge(f"model {plain(prediction.model_version)}", icon=":material/deployed_code:", color="primary")
        with st.container(key="prediction"):
            st.markdown(f"## {plain(answer)}")
        if schema.observed and not isinstance(prediction.prediction, str):
            seen = schema.observed
            st.altair_chart(charts.place(prediction.prediction, seen))
            low, high, median = (number_text(number) for number in (seen.minimum, seen.maximum, seen.median))
            st.caption(f"The reference data hold {plain(low)} to {plain(high)}, median {plain(median)}.")
        elif prediction.probabilities:
            st.altair_chart(charts.probabilities(prediction.probabilities, predicted=answer))
        for warning in prediction.warnings:
            st.warning(plain(warning), icon=":material/warning:")


def _show_feedback(api: ApiClient, prediction: Prediction, schema: Schema) -> None:
    with st.container(border=True, key="feedback"):
        receipt = st.session_state.get("receipt")
        # The receipt takes the button's place, so that the same label is not sent twice by accident.
        if isinstance(receipt, Feedback):
            _show_receipt(receipt)
            return
        label = _choose_number(prediction, schema) if schema.is_numeric else _choose_class(prediction, schema)
        is_confirmed = label == _suggested(prediction, schema)
        if st.button(
            "Confirm and send" if is_confirmed else "Correct and send",
            key="send_feedback",
            icon=":material/check:" if is_confirmed else ":material/edit:",
            disabled=label is None,
        ):
            _send(api, prediction, label)


def _send(api: ApiClient, prediction: Prediction, label: Label | None) -> None:
    if label is None:
        return
    try:
        st.session_state["receipt"] = api.send_feedback(prediction.prediction_id, label)
    except (ApiDown, ApiProblem) as error:
        show_error(error)
    else:
        st.rerun()


def _suggested(prediction: Prediction, schema: Schema) -> Label:
    """The label that confirms the prediction: of what only comes whole, the nearest whole number."""
    predicted = prediction.prediction
    is_whole = schema.observed is not None and schema.observed.integer
    return float(round(predicted)) if is_whole and isinstance(predicted, float) else predicted


def _choose_number(prediction: Prediction, schema: Schema) -> Label | None:
    key = f"label_{prediction.prediction_id}"
    predicted = _suggested(prediction, schema)
    with st.container(key="label"):
        # An input born with a value cannot be emptied.
        st.session_state.setdefault(key, None if isinstance(predicted, str) else float(predicted))
        is_whole = schema.observed is not None and schema.observed.integer
        return st.number_input(
            f"True {plain(schema.target)}",
            value=None,
            key=key,
            step=1.0 if is_whole else None,
            # Six digits are many for a small number, and no longer a number for a price.
            format="%.6g" if abs(st.session_state[key] or 0.0) < 1e5 else "%.2f",
            placeholder="needs a number",
        )


def _choose_class(prediction: Prediction, schema: Schema) -> Label | None:
    texts = [label_text(label) for label in schema.labels]
    predicted = label_text(prediction.prediction)
    index = texts.index(predicted) if predicted in texts else 0
    question = f"True {plain(schema.target)}"
    # The key names the prediction: an answer given for one must not stay selected for the next.
    with st.container(key="label"):
        key = f"label_{prediction.prediction_id}"
        if len(texts) > MOST_RADIO_LABELS:
            chosen = st.selectbox(question, texts, index=index, key=key, accept_new_options=schema.is_open)
        else:
            others = [OTHER] if schema.is_open else []
            chosen = st.radio(question, texts + others, index=index, key=key, horizontal=True, format_func=plain)
        if chosen in texts:
            return schema.labels[texts.index(chosen)]
        return schema.new_class(_ask_new_class(prediction) if chosen == OTHER else chosen)


def _ask_new_class(prediction: Prediction) -> str:
    return st.text_input(
        "Another class",
        key=f"class_{prediction.prediction_id}",
        placeholder="never seen so far",
        help="It is kept aside, and learnt when there are enough rows of it.",
    )


def _show_receipt(receipt: Feedback) -> None:
    said = f"Feedback recorded as row {receipt.row}: **{plain(label_text(receipt.target))}**."
    with st.container(key="receipt"):
        if receipt.is_set_aside:
            st.info(f"{said} {set_aside(receipt.reason)}", icon=":material/inventory_2:")
            return
        requested = " This row requested a retraining." if receipt.retraining_requested else ""
        st.success(
            f"{said}{requested} {next_retraining(receipt.rows_to_next_retraining)}.", icon=":material/check_circle:"
        )
