"""One datum: a form generated from the API's schema, the answer beside it, and the label given back."""

import streamlit as st

from webapp import charts, form
from webapp.answers import Feedback, Label, Prediction, Schema, label_text
from webapp.client import ApiClient, ApiDown, ApiProblem
from webapp.texts import plain, show_error, to_next_retraining

# More labels than this do not fit on one line.
MOST_RADIO_LABELS = 6


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
            _show_feedback(api, prediction, schema)
        else:
            _show_hint()


def _show_hint() -> None:
    with st.container(border=True, key="hint"):
        st.markdown("**No prediction yet**")
        st.caption("The form holds a real row of the reference data. Change what you like and press Predict.")


def _show_prediction(prediction: Prediction, schema: Schema) -> None:
    label = label_text(prediction.prediction)
    with st.container(border=True, key="result"):
        with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
            st.caption(f"Predicted {plain(schema.target)}", width="content")
            with st.container(key="model_version", width="content"):
                st.badge(f"model {plain(prediction.model_version)}", icon=":material/deployed_code:", color="primary")
        with st.container(key="prediction"):
            st.markdown(f"## {plain(label)}")
        if prediction.probabilities:
            st.altair_chart(charts.probabilities(prediction.probabilities, predicted=label))
        for warning in prediction.warnings:
            st.warning(plain(warning), icon=":material/warning:")


def _show_feedback(api: ApiClient, prediction: Prediction, schema: Schema) -> None:
    with st.container(border=True, key="feedback"):
        receipt = st.session_state.get("receipt")
        # The receipt takes the button's place, so that the same label is not sent twice by accident.
        if isinstance(receipt, Feedback):
            _show_receipt(receipt)
            return
        label = _choose_label(prediction, schema)
        is_confirmed = label == prediction.prediction
        if st.button(
            "Confirm and send" if is_confirmed else "Correct and send",
            key="send_feedback",
            icon=":material/check:" if is_confirmed else ":material/edit:",
        ):
            try:
                st.session_state["receipt"] = api.send_feedback(prediction.prediction_id, label)
            except (ApiDown, ApiProblem) as error:
                show_error(error)
            else:
                st.rerun()


def _choose_label(prediction: Prediction, schema: Schema) -> Label:
    texts = [label_text(label) for label in schema.labels]
    predicted = label_text(prediction.prediction)
    index = texts.index(predicted) if predicted in texts else 0
    question = f"True {plain(schema.target)}"
    # The key names the prediction: an answer given for one must not stay selected for the next.
    with st.container(key="label"):
        key = f"label_{prediction.prediction_id}"
        if len(texts) > MOST_RADIO_LABELS:
            chosen = st.selectbox(question, texts, index=index, key=key)
        else:
            chosen = st.radio(question, texts, index=index, key=key, horizontal=True, format_func=plain)
    return schema.labels[texts.index(chosen)]


def _show_receipt(receipt: Feedback) -> None:
    requested = "This row requested a retraining. " if receipt.retraining_requested else ""
    with st.container(key="receipt"):
        st.success(
            f"Feedback recorded as row {receipt.row}: **{plain(label_text(receipt.target))}**. {requested}"
            f"{to_next_retraining(receipt.rows_to_next_retraining)}.",
            icon=":material/check_circle:",
        )
