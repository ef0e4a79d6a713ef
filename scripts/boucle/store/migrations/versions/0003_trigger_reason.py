"""Why a training run was requested."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add the column; older runs have no reason."""
    op.add_column("training_runs", sa.Column("trigger_reason", sa.Text))
