"""Pixels and samples in, tags out. Knows no Celery, no database and no network."""
