"""Many rows from a file: predictions as they come, a table to keep, and the true labels given back."""

from collections.abc import Mapping

import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator
from streamlit.elements.lib.column_types import ColumnConfig

from webapp import charts, results, uploads
from webapp.answers import Label, label_text, number_text
from webapp.client import ApiClient, ApiDown, ApiProblem
from webapp.results import Batch
from webapp.schema import Schema
from webapp.texts import count, next_retraining, plain, set_aside, show_error

TABLE_HEIGHT = 390
MOST_NEW_CLASSES = 5


def show(api: ApiClient, schema: Schema) -> None:
    """From a file to predictions, and from its labels to feedback."""
    st.title("Batch")
    st.caption(f"{plain(schema.project)}: predict a whole file, compare it with the truth, send the truth back.")
    batch = _choose_file(schema)
    if batch:
        # Also before the answers: what comes below must not move under the mouse while the numbers are drawn.
        _show_summary(batch, schema)
        _offer_prediction(api, batch)
    if batch and batch.answers:
        table = results.table(batch, schema)
        labels = batch.labels
        if batch.upload.labels is None:
            table, labels = _edit_labels(batch, table, schema)
        else:
            columns = _columns(table, schema)
            st.dataframe(
                table,
                hide_index=True,
                column_config=columns,
                key="table",
                height=min(TABLE_HEIGHT, 38 + 35 * len(table)),
                placeholder="",
            )
        predicted = batch.predictions
        labels = _offer_new_classes(batch) | labels
        labels = {row: label for row, label in sorted(labels.items()) if row in predicted}
        _show_ways_out(api, batch, table, labels)
        if schema.is_numeric and batch.errors:
            _show_residuals(batch, schema)


def _choose_file(schema: Schema) -> Batch | None:
    """The batch of the chosen file; without one, the last batch, which a visit to another page must not lose."""
    left, right = st.columns([13, 8], gap="large", vertical_alignment="center")
    # No list of types: Streamlit's own refusal would not say what is allowed.
    file = left.file_uploader("CSV or JSON, one or many rows", key="upload")
    with right:
        st.caption(f"Add the column {plain(schema.target)} to compare with the truth; unknown columns are ignored.")
        st.download_button(
            "Example file",
            data=uploads.to_csv(pd.DataFrame([schema.example])),
            file_name="example.csv",
            mime="text/csv",
            key="example",
            icon=":material/download:",
            on_click="ignore",
        )
    batch: Batch | None = st.session_state.get("batch")
    if file and (batch is None or batch.file_id != file.file_id):
        try:
            batch = Batch(file.file_id, uploads.read_upload(file.name, file.getvalue(), schema))
        except uploads.UnreadableUpload as error:
            with st.container(key="unreadable"):
                st.error(plain(error), icon=":material/error:")
            return None
        st.session_state["batch"] = batch
    if batch and batch.upload.ignored:
        st.caption(f"Ignored, unknown to the model: {plain(', '.join(batch.upload.ignored))}.")
    return batch


def _offer_prediction(api: ApiClient, batch: Batch) -> None:
    place = st.empty()
    if batch.answers:
        return
    with place.container():
        rows = count(len(batch.upload.rows), "row")
        if st.button(f"Predict {rows}", key="predict_batch", type="primary", icon=":material/play_arrow:"):
            _predict(api, batch)
    if batch.answers:
        # The button goes before the table comes: going later, it would pull the next button from under the mouse.
        place.empty()
        st.rerun()


def _predict(api: ApiClient, batch: Batch) -> None:
    """Ask for every row and move the bar; a refusal or an outage is shown and leaves the batch unanswered."""
    bar = st.progress(0.0, text="Asking the API…")
    try:
        # The API counts the rows it was sent, the file may hold more.
        rows = batch.upload.sent
        for answer in api.predict_batch(*batch.upload.body()):
            batch.answers[rows[answer.row - 1]] = answer
            _move(bar, len(batch.answers), len(rows), "predicted")
    except (ApiDown, ApiProblem) as error:
        # Half an answer would look like a whole one; asking again costs nothing.
        batch.answers.clear()
        bar.empty()
        show_error(error)


def _show_summary(batch: Batch, schema: Schema) -> None:
    predictions = batch.predictions
    versions = sorted({prediction.model_version for prediction in predictions.values()})
    with st.container(horizontal=True, key="summary"):
        st.metric("Rows", f"{len(batch.upload.rows):,}", border=True)
        if not batch.answers:
            st.metric(f"With a true {plain(schema.target)}", f"{len(batch.labels):,}", border=True)
            return
        st.metric("Predicted", f"{len(predictions):,}", border=True)
        st.metric("With problems", f"{len(batch.upload.rows) - len(predictions):,}", border=True)
        st.metric("Model version", plain(", ".join(versions)) or "none", border=True)
        errors = [abs(error) for error in batch.errors.values()] if schema.is_numeric else []
        if errors:
            st.metric("Off by, on average", number_text(sum(errors) / len(errors), digits=4), border=True)
        elif batch.agreement is not None and not schema.is_numeric:
            st.metric("Agreement", f"{batch.agreement:.1%}", border=True)


def _offer_new_classes(batch: Batch) -> dict[int, Label]:
    """The labels of classes nobody has seen yet, if the user wants to send them: a slip of the pen looks the same."""
    new = batch.upload.new_classes
    if not new:
        return {}
    names = sorted({label_text(label) for label in new.values()})
    shown = ", ".join(names[:MOST_NEW_CLASSES]) + ("…" if len(names) > MOST_NEW_CLASSES else "")
    wanted = st.toggle(
        f"Also send {count(len(new), 'label')} of a class never seen: {plain(shown)}",
        key=f"new_classes_{batch.file_id}",
        help="They are kept aside, and learnt when there are enough rows of the class.",
    )
    return new if wanted else {}


def _show_residuals(batch: Batch, schema: Schema) -> None:
    st.subheader("Predicted against true")
    errors, labels = batch.errors, batch.labels
    true = [float(labels[row]) for row in errors]
    predicted = [value + error for value, error in zip(true, errors.values(), strict=True)]
    st.altair_chart(charts.residuals(predicted, true, schema.target))


def _edit_labels(batch: Batch, table: pd.DataFrame, schema: Schema) -> tuple[pd.DataFrame, dict[int, Label]]:
    """The table with the labels that the user chose in it, and these labels."""
    prefill = st.toggle(
        "Start from the predictions, I correct the wrong ones",
        key=f"prefill_{batch.file_id}",
        help="Only rows with a label are sent. A label nobody checked teaches the model its own mistakes.",
    )
    true = results.true_column(schema)
    if prefill:
        table[true] = table["predicted"]
    edited = st.data_editor(
        table,
        hide_index=True,
        column_config=_columns(table, schema),
        disabled=[column for column in table.columns if column != true],
        key=f"editor_{batch.file_id}_{prefill}",
        height=min(TABLE_HEIGHT, 38 + 35 * len(table)),
        placeholder="",
    )
    chosen = {int(row): schema.label(text) for row, text in zip(edited["row"], edited[true], strict=True)}
    return edited, {row: label for row, label in chosen.items() if label is not None}


def _show_ways_out(api: ApiClient, batch: Batch, table: pd.DataFrame, labels: Mapping[int, Label]) -> None:
    """The labels to the API, and the table to the user's disk."""
    waiting = {row: label for row, label in labels.items() if row not in batch.receipts}
    with st.container(horizontal=True):
        asked = st.button(
            f"Send {count(len(waiting), 'label')} as feedback" if waiting else "Send labels as feedback",
            key="send_batch_feedback",
            type="primary",
            icon=":material/send:",
            disabled=not waiting,
        )
        st.download_button(
            "Download as CSV",
            # Made only when it is asked for: a long file takes a while.
            data=lambda: uploads.to_csv(table),
            file_name=f"{batch.upload.name.rsplit('.', 1)[0]}_predictions.csv",
            mime="text/csv",
            key="download",
            icon=":material/download:",
            on_click="ignore",
        )
    if not labels:
        st.caption("Choose the true label of some rows in the table to send them as feedback.")
    if asked:
        _send(api, batch, waiting)
    _show_receipts(batch)


def _send(api: ApiClient, batch: Batch, waiting: Mapping[int, Label]) -> None:
    """One call per label; what was sent stays noted, so that an interruption is continued, not repeated."""
    bar = st.progress(0.0, text="Sending the feedback…")
    batch.refusals.clear()
    predictions = batch.predictions
    for done, (row, label) in enumerate(waiting.items(), 1):
        try:
            batch.receipts[row] = api.send_feedback(predictions[row].prediction_id, label)
        except ApiProblem as problem:
            batch.refusals[row] = str(problem)
        except ApiDown as error:
            bar.empty()
            show_error(error)
            return
        _move(bar, done, len(waiting), "labels sent")
    st.rerun()


def _show_receipts(batch: Batch) -> None:
    if batch.receipts:
        last = max(batch.receipts.values(), key=lambda receipt: receipt.row)
        aside = [receipt for receipt in batch.receipts.values() if receipt.is_set_aside]
        with st.container(key="batch_receipt"):
            st.success(
                f"{count(len(batch.receipts), 'label')} recorded, the last as feedback row {last.row:,}. "
                f"{next_retraining(last.rows_to_next_retraining)}.",
                icon=":material/check_circle:",
            )
            if aside:
                said = f"{count(len(aside), 'label')} of them set aside. {set_aside(aside[0].reason)}"
                st.info(said, icon=":material/inventory_2:")
    if batch.refusals:
        st.warning(f"{count(len(batch.refusals), 'label')} refused", icon=":material/warning:")
        refused = pd.DataFrame({"row": list(batch.refusals), "problem": list(batch.refusals.values())})
        st.dataframe(refused, hide_index=True, key="refused")


def _columns(table: pd.DataFrame, schema: Schema) -> dict[str, ColumnConfig | str | None]:
    config = st.column_config
    columns: dict[str, ColumnConfig | str | None] = {
        "row": config.NumberColumn(width=60, format="%d"),
        "problem": config.TextColumn(width=340 if table["problem"].notna().any() else 80),
    }
    true = results.true_column(schema)
    if not schema.is_numeric:
        return columns | {
            "agrees": config.TextColumn(width=70),
            true: config.SelectboxColumn(options=[label_text(label) for label in schema.labels]),
            "confidence": config.ProgressColumn(min_value=0, max_value=1, format="percent", width=110),
        }
    # Six digits are many for a small number, and no longer a number for a price.
    digits = "%.6g" if table["predicted"].abs().max() < 1e5 else "%.2f"
    columns |= {"predicted": config.NumberColumn(format=digits), true: config.NumberColumn(format=digits)}
    if "off by" in table and table["off by"].notna().any():
        # The worst error of the file fills the bar; it needs some length even when there is none.
        worst = max(float(table["off by"].max()), 1e-12)
        columns["off by"] = config.ProgressColumn(
            min_value=0, max_value=worst, format="%.4g" if worst < 1e4 else "%.0f", width=130
        )
    return columns


def _move(bar: DeltaGenerator, done: int, total: int, what: str) -> None:
    # A hundred steps are all the eye sees; one message per row would slow a long file down.
    if done == total or done % max(1, total // 100) == 0:
        bar.progress(min(1.0, done / total), text=f"{done:,} of {total:,} {what}")
