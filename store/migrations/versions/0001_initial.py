"""Uploads and attempts, documents and tags, sounds and their uses, the change feed.

Revision ID: 0001
Revises:
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

BIG_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "counters",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("value", BIG_ID, nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_counters")),
    )
    op.create_table(
        "cursors",
        sa.Column("consumer", sa.Text(), nullable=False),
        sa.Column("position", BIG_ID, nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("consumer", name=op.f("pk_cursors")),
    )
    op.create_table(
        "refusals",
        sa.Column("refusal_id", BIG_ID, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("problems", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("refusal_id", name=op.f("pk_refusals")),
    )
    op.create_table(
        "sounds",
        sa.Column("sound_id", sa.Text(), nullable=False),
        sa.Column("seq", BIG_ID, nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("duration_s", sa.Double(), nullable=False),
        sa.Column("fingerprint", sa.LargeBinary(), nullable=True),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("merged_into", sa.Text(), nullable=True),
        sa.Column("origin_upload_id", sa.Text(), nullable=True),
        sa.Column("source_sha256", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["merged_into"], ["sounds.sound_id"], name=op.f("fk_sounds_merged_into")),
        sa.PrimaryKeyConstraint("sound_id", name=op.f("pk_sounds")),
    )
    op.create_index(op.f("ix_sounds_created_at"), "sounds", ["created_at"], unique=False)
    op.create_index(op.f("ix_sounds_merged_into"), "sounds", ["merged_into"], unique=False)
    op.create_index(op.f("ix_sounds_seq"), "sounds", ["seq"], unique=False)
    given = sa.text("source_sha256 IS NOT NULL")
    op.create_index(
        op.f("ix_sounds_source_sha256"),
        "sounds",
        ["source_sha256"],
        unique=True,
        sqlite_where=given,
        postgresql_where=given,
    )
    op.create_table(
        "uploads",
        sa.Column("upload_id", sa.Text(), nullable=False),
        sa.Column("request", sa.JSON(), nullable=False),
        sa.Column("request_hash", sa.Text(), nullable=False),
        sa.Column("queue", sa.Text(), nullable=False),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("country", sa.Text(), nullable=True),
        sa.Column("language", sa.Text(), nullable=True),
        sa.Column("account_id", sa.Text(), nullable=True),
        sa.Column("uploaded_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("attempt_id", BIG_ID, nullable=True),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("resends", sa.Integer(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("upload_id", name=op.f("pk_uploads")),
    )
    op.create_index(op.f("ix_uploads_country"), "uploads", ["country"], unique=False)
    op.create_index(op.f("ix_uploads_due_at"), "uploads", ["due_at"], unique=False)
    op.create_index(op.f("ix_uploads_outcome"), "uploads", ["outcome"], unique=False)
    op.create_index(op.f("ix_uploads_state_outcome"), "uploads", ["state", "outcome"], unique=False)
    op.create_table(
        "attempts",
        sa.Column("attempt_id", BIG_ID, nullable=False),
        sa.Column("upload_id", sa.Text(), nullable=False),
        sa.Column("request_hash", sa.Text(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ending", sa.Text(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["upload_id"], ["uploads.upload_id"], name=op.f("fk_attempts_upload_id")),
        sa.PrimaryKeyConstraint("attempt_id", name=op.f("pk_attempts")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_attempts_upload_id"), "attempts", ["upload_id"], unique=False)
    op.create_table(
        "documents",
        sa.Column("upload_id", sa.Text(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("request_hash", sa.Text(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("document", sa.JSON(), nullable=False),
        sa.Column("artifact", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["upload_id"], ["uploads.upload_id"], name=op.f("fk_documents_upload_id")),
        sa.PrimaryKeyConstraint("upload_id", "revision", name=op.f("pk_documents")),
    )
    op.create_table(
        "sound_uses",
        sa.Column("upload_id", sa.Text(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("sound_id", sa.Text(), nullable=False),
        sa.Column("score", sa.Double(), nullable=False),
        sa.Column("start_s", sa.Double(), nullable=False),
        sa.Column("end_s", sa.Double(), nullable=False),
        sa.Column("offset_s", sa.Double(), nullable=False),
        sa.Column("speed", sa.Double(), nullable=False),
        sa.Column("pitch_semitones", sa.Double(), nullable=False),
        sa.Column("used_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["sound_id"], ["sounds.sound_id"], name=op.f("fk_sound_uses_sound_id")),
        sa.ForeignKeyConstraint(["upload_id"], ["uploads.upload_id"], name=op.f("fk_sound_uses_upload_id")),
        sa.PrimaryKeyConstraint("upload_id", "position", name=op.f("pk_sound_uses")),
    )
    op.create_index(op.f("ix_sound_uses_sound_id"), "sound_uses", ["sound_id"], unique=False)
    op.create_index(op.f("ix_sound_uses_used_at"), "sound_uses", ["used_at"], unique=False)
    op.create_table(
        "tagger_states",
        sa.Column("upload_id", sa.Text(), nullable=False),
        sa.Column("tagger", sa.Text(), nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["upload_id"], ["uploads.upload_id"], name=op.f("fk_tagger_states_upload_id")),
        sa.PrimaryKeyConstraint("upload_id", "tagger", name=op.f("pk_tagger_states")),
    )
    op.create_index(op.f("ix_tagger_states_tagger_version"), "tagger_states", ["tagger", "version"], unique=False)
    op.create_table(
        "tags",
        sa.Column("upload_id", sa.Text(), nullable=False),
        sa.Column("tagger", sa.Text(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("tag", sa.Text(), nullable=False),
        sa.Column("score", sa.Double(), nullable=False),
        sa.Column("ranges", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(["upload_id"], ["uploads.upload_id"], name=op.f("fk_tags_upload_id")),
        sa.PrimaryKeyConstraint("upload_id", "tagger", "position", name=op.f("pk_tags")),
    )
    op.create_index(op.f("ix_tags_tagger_tag_score"), "tags", ["tagger", "tag", "score"], unique=False)
    op.create_table(
        "outbox",
        sa.Column("cursor", BIG_ID, autoincrement=False, nullable=False),
        sa.Column("event", sa.Text(), nullable=False),
        sa.Column("upload_id", sa.Text(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["upload_id", "revision"],
            ["documents.upload_id", "documents.revision"],
            name=op.f("fk_outbox_upload_id_revision"),
        ),
        sa.PrimaryKeyConstraint("cursor", name=op.f("pk_outbox")),
    )
    op.create_index(op.f("ix_outbox_upload_id_revision"), "outbox", ["upload_id", "revision"], unique=True)
    counters = sa.table("counters", sa.column("name", sa.Text()), sa.column("value", sa.BigInteger()))
    op.bulk_insert(counters, [{"name": "sounds", "value": 0}, {"name": "outbox", "value": 0}])
