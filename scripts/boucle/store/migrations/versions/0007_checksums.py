"""What prod_data.csv must hold, by its checksum."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Add the column; older rows have no checksum, and the file is written anew at the next start."""
    op.add_column("feedback", sa.Column("checksum", sa.BigInteger, nullable=False, server_default="0"))
