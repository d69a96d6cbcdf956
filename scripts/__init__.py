"""What a person runs: the `tagfarm` command."""
