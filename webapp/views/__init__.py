"""One module per page; each offers ``show(api, schema)`` and owns no state but Streamlit's session.

Not named ``pages``: Streamlit takes a folder of that name beside the main script for its own, and shows an empty page
to whoever reaches a freshly started server by a deep link.
"""
