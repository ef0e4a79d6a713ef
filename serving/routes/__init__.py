"""HTTP in, HTTP out: no rule lives here."""
