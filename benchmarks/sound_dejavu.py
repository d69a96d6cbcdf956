"""The script that runs dejavu in its own Python: see `sound_peers`."""

DEJAVU = '''
import json, sqlite3, sys
from contextlib import contextmanager

root, place, verb, *names = sys.argv[1:]
sys.path.insert(0, root)
import matplotlib
matplotlib.use("Agg")
from dejavu import Dejavu
from dejavu.base_classes.common_database import CommonDatabase
from dejavu.config import settings
from dejavu.logic.recognizer.file_recognizer import FileRecognizer


class Sqlite(CommonDatabase):
    """The fourth database beside its MySQL and PostgreSQL, so that no server is needed. Same tables and questions."""

    CREATE_SONGS_TABLE = (
        "CREATE TABLE IF NOT EXISTS songs (song_id INTEGER PRIMARY KEY, song_name TEXT, file_sha1 TEXT, "
        "total_hashes INTEGER, fingerprinted INTEGER DEFAULT 0)"
    )
    CREATE_FINGERPRINTS_TABLE = (
        "CREATE TABLE IF NOT EXISTS fingerprints (hash BLOB, song_id INTEGER, at INTEGER, "
        "PRIMARY KEY (hash, song_id, at)) WITHOUT ROWID"
    )
    DELETE_UNFINGERPRINTED = "DELETE FROM songs WHERE fingerprinted = 0"
    INSERT_FINGERPRINT = "INSERT OR IGNORE INTO fingerprints (song_id, hash, at) VALUES (?, bytes(?), ?)"
    UPDATE_SONG_FINGERPRINTED = "UPDATE songs SET fingerprinted = 1 WHERE song_id = ?"
    SELECT_SONGS = "SELECT song_id, song_name, file_sha1, total_hashes FROM songs WHERE fingerprinted = 1"
    SELECT_SONG = "SELECT song_name, file_sha1, total_hashes FROM songs WHERE song_id = ?"
    SELECT_MULTIPLE = "SELECT hex(hash), song_id, at FROM fingerprints WHERE hash IN (%s)"
    IN_MATCH = "bytes(?)"

    def __init__(self):
        super().__init__()
        self.connection = sqlite3.connect(place)
        self.connection.create_function("bytes", 1, bytes.fromhex, deterministic=True)

    @contextmanager
    def cursor(self, dictionary=False, **options):
        self.connection.row_factory = (
            (lambda cursor, row: {field[0]: value for field, value in zip(cursor.description, row)})
            if dictionary else None
        )
        yield self.connection.cursor()
        self.connection.commit()

    def insert_song(self, song_name, file_hash, total_hashes):
        with self.cursor() as cursor:
            cursor.execute(
                "INSERT INTO songs (song_name, file_sha1, total_hashes) VALUES (?, ?, ?)",
                (song_name, file_hash, total_hashes),
            )
            return cursor.lastrowid


settings.DATABASES["sqlite"] = ("__main__", "Sqlite")
dejavu = Dejavu({"database_type": "sqlite"})
for name in names:
    if verb == "index":
        hashes, digest = Dejavu.get_file_fingerprints(name, None)
        song = dejavu.db.insert_song(name.split("/")[-1].split(".")[0], digest, len(hashes))
        dejavu.db.insert_hashes(song, list(hashes))
        dejavu.db.set_song_fingerprinted(song)
    else:
        best = (dejavu.recognize(FileRecognizer, name)[settings.RESULTS] or [None])[0]
        print(json.dumps({
            "asked": name,
            "best": best and best[settings.SONG_NAME].decode(),
            "matched": best and int(best[settings.HASHES_MATCHED]),
            "of": best and int(best[settings.INPUT_HASHES]),
        }))
'''
"""Indexes or asks these files, its parameters as they come. `fingerprint_file` of dejavu cannot be called as it is (it
forgets an argument of its database), so this does what `fingerprint_directory` does, on one process.
Arguments: checkout, database, `index` or `ask`, files."""
