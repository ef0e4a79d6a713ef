"""An index on predictions: which versions the log names, and which predictions are old."""

from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Make the index; it reads the table once."""
    op.create_index("ix_predictions_model_version_created_at", "predictions", ["model_version", "created_at"])
