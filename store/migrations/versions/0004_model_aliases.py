"""Which version of each tagger is champion, challenger and shadow, every change of it, and what shadows said."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

BIG_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "alias_changes",
        sa.Column("change_id", BIG_ID, autoincrement=False, nullable=False),
        sa.Column("tagger", sa.Text(), nullable=False),
        sa.Column("alias", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=True),
        sa.Column("digest", sa.Text(), nullable=True),
        sa.Column("share", sa.Double(), nullable=False),
        sa.Column("before_id", BIG_ID, nullable=True),
        sa.Column("who", sa.Text(), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["before_id"], ["alias_changes.change_id"], name=op.f("fk_alias_changes_before_id")),
        sa.PrimaryKeyConstraint("change_id", name=op.f("pk_alias_changes")),
    )
    op.create_index(op.f("ix_alias_changes_tagger_alias"), "alias_changes", ["tagger", "alias"], unique=False)
    op.create_table(
        "aliases",
        sa.Column("tagger", sa.Text(), nullable=False),
        sa.Column("alias", sa.Text(), nullable=False),
        sa.Column("change_id", BIG_ID, nullable=False),
        sa.ForeignKeyConstraint(["change_id"], ["alias_changes.change_id"], name=op.f("fk_aliases_change_id")),
        sa.PrimaryKeyConstraint("tagger", "alias", name=op.f("pk_aliases")),
    )
    op.create_table(
        "shadow_answers",
        sa.Column("upload_id", sa.Text(), nullable=False),
        sa.Column("tagger", sa.Text(), nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("published_version", sa.Text(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("section", sa.JSON(), nullable=False),
        sa.Column("published", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(["upload_id"], ["uploads.upload_id"], name=op.f("fk_shadow_answers_upload_id")),
        sa.PrimaryKeyConstraint("upload_id", "tagger", "version", name=op.f("pk_shadow_answers")),
    )
    op.create_index(op.f("ix_shadow_answers_tagger_at"), "shadow_answers", ["tagger", "at"], unique=False)
    counters = sa.table("counters", sa.column("name", sa.Text()), sa.column("value", BIG_ID))
    op.bulk_insert(counters, [{"name": "aliases", "value": 0}])
