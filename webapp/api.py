"""The entry: puts the pages together, and keeps them usable while the API is away.

Run from the repository's root: ``streamlit run webapp/api.py``.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import streamlit as st
from pydantic import ValidationError

from webapp import status
from webapp.client import ApiClient, ApiDown, ApiProblem
from webapp.schema import Schema
from webapp.settings import Settings
from webapp.texts import plain
from webapp.views import batch, loop, models, monitoring, predict

HERE = Path(__file__).parent
# Streamlit keeps six empty lines above the page for its toolbar, which this page hides; and its tables offer a
# download of their own, in which a cell may run as a spreadsheet formula: ours (uploads.to_csv) is the only one.
STYLE = """<style>
.stMainBlockContainer { padding: 2.5rem 3rem; }
.st-key-vitals { display: grid; grid-template-columns: repeat(auto-fit, minmax(11.5rem, 1fr)); align-items: stretch; }
[data-testid="stElementToolbarButton"]:has([aria-label^="Download as CSV"]) { display: none; }
</style>"""


def main() -> None:
    """Draw the page that the address names, and above it the outage if there is one."""
    st.set_page_config(page_title="Boucle", page_icon=str(HERE / "icon.svg"), layout="wide")
    st.logo(str(HERE / "logo.svg"), size="large", icon_image=str(HERE / "icon.svg"))
    st.html(STYLE)
    settings = _settings()
    api = st.session_state.setdefault("api", ApiClient(str(settings.serving_url)))
    # See status.show: from here to the end, this run speaks for itself.
    st.session_state.pop("outage_shown", None)
    schema, outage = _schema(api)
    pages = [
        st.Page(partial(_open, show, api, schema), title=title, icon=icon, url_path=title.lower())
        for show, title, icon in (
            (predict.show, "Predict", ":material/online_prediction:"),
            (batch.show, "Batch", ":material/table_rows:"),
            (loop.show, "Loop", ":material/all_inclusive:"),
            (models.show, "Models", ":material/deployed_code:"),
            (partial(monitoring.show, links=settings.links), "Monitoring", ":material/monitoring:"),
        )
    ]
    page = st.navigation(pages)
    with st.sidebar:
        status.show(api)
    outage = outage or status.current().outage
    st.session_state["outage_shown"] = outage
    if outage:
        _say_down(outage, keeps_input=schema is not None)
    page.run()


def _settings() -> Settings:
    try:
        return Settings()
    except ValidationError as error:
        wrong = error.errors()[0]
        st.error(
            plain(f"{str(wrong['loc'][0]).upper()}={wrong['input']}: {wrong['msg']}; allowed is http://host:port.")
        )
        st.stop()


def _open(show: Callable[[ApiClient, Schema], None], api: ApiClient, schema: Schema | None) -> None:
    # Without a schema there is nothing to ask for; the outage says why.
    if schema:
        show(api, schema)


def _schema(api: ApiClient) -> tuple[Schema | None, str | None]:
    """What the project asks and answers, the last one known during an outage; and the outage, if there is one."""
    known: Schema | None = st.session_state.get("schema")
    try:
        schema = api.schema()
    except (ApiDown, ApiProblem) as error:
        return known, str(error)
    if known and known.identity != schema.identity:
        # Another project answers now: no input and no prediction of the old one fits.
        st.session_state.clear()
        st.session_state["api"] = api
    st.session_state["schema"] = schema
    return schema, None


def _say_down(outage: str, *, keeps_input: bool) -> None:
    kept = " What you entered is kept." if keeps_input else ""
    with st.container(key="outage"):
        st.error(
            f"**{plain(outage)}** Start the stack with `make run`; this page reconnects by itself.{kept}",
            icon=":material/cloud_off:",
        )


main()
