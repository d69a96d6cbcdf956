"""What a caller of the store must be ready for. Everything else that it raises is a bug."""

from __future__ import annotations


class StoreError(Exception):
    """The store cannot do what was asked. The message says why, and what to do."""


class StoreUnavailable(StoreError):
    """The database cannot be reached, is locked for too long, or went away; nothing was written unless the loss came
    in the middle of a commit, and then the ledger knows."""


class SchemaOlder(StoreError):
    """The database was made by an older version and has not been migrated."""


class SchemaNewer(StoreError):
    """The database was made, or migrated, by a newer version."""


class LeaseLost(StoreError):
    """The attempt is not the live one any more: someone else has the upload, or it is done. Nothing was written."""


class UnknownSound(StoreError):
    """No sound of this id was ever in this store."""


class SoundIndexLost(StoreError):
    """The shared sound index lacks what it held, or is of another shape. The store is its truth: make it again."""

    def __init__(self, what: str) -> None:
        super().__init__(f"the shared sound index cannot be used ({what}); make it again: tagfarm sounds rebuild")


class NothingToRollBack(StoreError):
    """The alias means what it meant at the beginning."""
