"""The processes: Celery app, settings, and what a node builds once and keeps."""
