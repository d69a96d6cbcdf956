"""Alembic's entrance. Only ever run from `store.migrate`, which brings the connection and the transaction."""

from alembic import context

import store.schema_labels
import store.schema_models
import store.schema_retag  # noqa: F401
from store.schema import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    render_as_batch=True,
    compare_type=True,
)
context.run_migrations()
