"""People's labels, what is kept for heads, and runs of re-tagging.

Revision ID: 0003
Revises: 0002
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

BIG_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.add_column("documents", sa.Column("machine", sa.JSON(), nullable=True))
    op.create_index(op.f("ix_documents_artifact"), "documents", ["artifact"], unique=False)
    op.add_column("uploads", sa.Column("media_sha256", sa.Text(), nullable=True))
    op.create_index(op.f("ix_uploads_media_sha256"), "uploads", ["media_sha256"], unique=False)
    sqlite = op.get_bind().dialect.name == "sqlite"
    sha256 = "json_extract(d.document, '$.media.sha256')" if sqlite else "d.document -> 'media' ->> 'sha256'"
    op.execute(
        f"UPDATE uploads SET media_sha256 = (SELECT {sha256} FROM documents AS d "  # noqa: S608
        "WHERE d.upload_id = uploads.upload_id AND d.revision = uploads.revision)"
    )
    op.create_table(
        "labels",
        sa.Column("label_id", BIG_ID, nullable=False),
        sa.Column("upload_id", sa.Text(), nullable=False),
        sa.Column("tagger", sa.Text(), nullable=False),
        sa.Column("tag", sa.Text(), nullable=False),
        sa.Column("decision", sa.Text(), nullable=False),
        sa.Column("by", sa.Text(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("taxonomy", sa.Text(), nullable=True),
        sa.Column("note", sa.Text(), nullable=True),
        sa.Column("written_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["upload_id"], ["uploads.upload_id"], name=op.f("fk_labels_upload_id")),
        sa.PrimaryKeyConstraint("label_id", name=op.f("pk_labels")),
        sqlite_autoincrement=True,
    )
    op.create_index(
        op.f("ix_labels_upload_id_tagger_tag_at"), "labels", ["upload_id", "tagger", "tag", "at"], unique=False
    )
    op.create_index(op.f("ix_labels_tagger_tag"), "labels", ["tagger", "tag"], unique=False)
    op.create_table(
        "encodings",
        sa.Column("upload_id", sa.Text(), nullable=False),
        sa.Column("encoder", sa.Text(), nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("rows", sa.Integer(), nullable=False),
        sa.Column("dimension", sa.Integer(), nullable=False),
        sa.Column("start_s", sa.Double(), nullable=False),
        sa.Column("end_s", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["upload_id"], ["uploads.upload_id"], name=op.f("fk_encodings_upload_id")),
        sa.PrimaryKeyConstraint("upload_id", "encoder", name=op.f("pk_encodings")),
    )
    op.create_index(op.f("ix_encodings_encoder_version"), "encodings", ["encoder", "version"], unique=False)
    op.create_table(
        "retag_runs",
        sa.Column("run_id", BIG_ID, nullable=False),
        sa.Column("fingerprint", sa.Text(), nullable=False),
        sa.Column("selection", sa.JSON(), nullable=False),
        sa.Column("targets", sa.JSON(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("run_id", name=op.f("pk_retag_runs")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_retag_runs_fingerprint"), "retag_runs", ["fingerprint"], unique=False)
    op.create_table(
        "retag_items",
        sa.Column("run_id", BIG_ID, nullable=False),
        sa.Column("upload_id", sa.Text(), nullable=False),
        sa.Column("way", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["retag_runs.run_id"], name=op.f("fk_retag_items_run_id")),
        sa.ForeignKeyConstraint(["upload_id"], ["uploads.upload_id"], name=op.f("fk_retag_items_upload_id")),
        sa.PrimaryKeyConstraint("run_id", "upload_id", name=op.f("pk_retag_items")),
    )
    op.create_index(
        op.f("ix_retag_items_run_id_state_way_upload_id"),
        "retag_items",
        ["run_id", "state", "way", "upload_id"],
        unique=False,
    )
