"""A training run keeps its exam, and says how far it is."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add the columns."""
    op.add_column("training_runs", sa.Column("exam", sa.Text))
    op.add_column("training_runs", sa.Column("progress", sa.Text))
    op.add_column("training_runs", sa.Column("progress_share", sa.Float))
