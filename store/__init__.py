"""What the farm knows: uploads and attempts, tags, sounds, the change feed."""
