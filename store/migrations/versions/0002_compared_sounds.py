"""Sounds say whether they were held against the others: what two uploads registered at once becomes one."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("sounds") as sounds:
        sounds.add_column(sa.Column("compared_at", sa.DateTime(timezone=True), nullable=True))
        sounds.create_index(op.f("ix_sounds_compared_at"), ["compared_at"], unique=False)
