"""What can be asked of the farm: the contract, the pipeline of one upload, the Celery tasks."""
