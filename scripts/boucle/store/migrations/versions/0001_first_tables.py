"""The first tables: predictions, feedback, projection, training runs."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make the four tables."""
    op.create_table(
        "predictions",
        sa.Column("prediction_id", sa.String(64), primary_key=True),
        sa.Column("created_at", sa.String(32), nullable=False),
        sa.Column("model_version", sa.String(32), nullable=False),
        sa.Column("arm", sa.String(32), nullable=False),
        sa.Column("client_id", sa.String(64)),
        sa.Column("input", sa.Text, nullable=False),
        sa.Column("prediction", sa.Text, nullable=False),
        sa.Column("probabilities", sa.Text, nullable=False),
        sa.Column("latency_seconds", sa.Float, nullable=False),
    )
    op.create_table(
        "feedback",
        sa.Column("row", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("prediction_id", sa.String(64), nullable=False, unique=True),
        sa.Column("created_at", sa.String(32), nullable=False),
        sa.Column("input", sa.Text, nullable=False),
        sa.Column("vector", sa.LargeBinary, nullable=False),
        sa.Column("target", sa.Text, nullable=False),
        sa.Column("prediction", sa.Text, nullable=False),
        sa.Column("model_version", sa.String(32)),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("reason", sa.Text),
        sa.Column("line_end", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "projection",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("embedding_id", sa.String(64), nullable=False),
        sa.Column("header", sa.Text, nullable=False),
    )
    op.create_table(
        "training_runs",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("trigger", sa.String(16), nullable=False),
        sa.Column("strategy", sa.String(64)),
        sa.Column("state", sa.String(16), nullable=False, index=True),
        sa.Column("idempotency_key", sa.String(255), unique=True),
        sa.Column("feedback_row", sa.Integer, unique=True),
        sa.Column("requested_at", sa.String(32), nullable=False),
        sa.Column("started_at", sa.String(32)),
        sa.Column("finished_at", sa.String(32)),
        sa.Column("parent_version", sa.String(32)),
        sa.Column("version", sa.String(32)),
        sa.Column("verdict", sa.String(32)),
        sa.Column("reason", sa.Text),
        sa.Column("metrics", sa.Text, nullable=False),
        sa.Column("mlflow_run_id", sa.String(64)),
        sa.Column("coalesced_into", sa.Integer),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("owner", sa.String(255)),
        sa.Column("lease_until", sa.String(32)),
    )
