"""The database that FireWorks and the records share: the user's launchpad, or a private server under the root.

FireWorks is imported only to add or launch work; reading needs only pymongo.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any

from pydantic import Field

from ...analysis.records import SCHEMA_VERSION, Frozen
from ...errors import SodiateError
from ..campaign.yaml import load_yaml, validate
from ..stop import Stop, meanwhile
from .lease import Owner
from .mongod import DATABASE, PrivateMongod, private_mongod
from .outage import outage_of
from .room import no_room
from .seals import known_schema

if TYPE_CHECKING:
    from fireworks.core.launchpad import LaunchPad
    from pymongo import MongoClient
    from pymongo.database import Database as MongoDatabase

WATCH_S = 1.0
"""Seconds between two looks at whether the private server still runs."""

PATIENCE = {"serverSelectionTimeoutMS": 3000}
"""For the private server, which answers at once or has ended."""

SERVER_TIMEOUT_MS = 5000
"""How long to look for a server before giving up."""


class DatabaseError(SodiateError):
    """The database cannot be reached, or sodiate must not write to it."""


class Unreachable(DatabaseError):
    """No server answers, or none any more."""


class LaunchpadFile(Frozen):
    """The keys of FireWorks' ``my_launchpad.yaml``."""

    host: str | None = Field(default=None, repr=False)
    port: int | None = Field(default=None, ge=1, le=65535)
    name: str | None = None
    username: str | None = None
    password: str | None = Field(default=None, repr=False)
    logdir: str | None = None
    strm_lvl: str | None = None
    user_indices: list[str] | None = None
    wf_user_indices: list[str] | None = None
    authsource: str | None = None
    uri_mode: bool = False
    mongoclient_kwargs: dict[str, Any] = {}

    @property
    def client_options(self) -> dict[str, Any]:
        """The options of the client, which waits for a server for seconds instead of half a minute."""
        return {"serverSelectionTimeoutMS": SERVER_TIMEOUT_MS, **self.mongoclient_kwargs}


@dataclass(frozen=True)
class Database:
    """An open database.

    Attributes
    ----------
    db
        The pymongo database.
    title
        Its name in messages: the root, or the launchpad file.
    settings
        FireWorks' settings for the same database.
    server
        The private server that it is on; None on a server of the user's.
    """

    db: MongoDatabase[dict[str, Any]]
    title: str
    settings: LaunchpadFile
    server: PrivateMongod | None = None

    @contextmanager
    def watched(self, stop: Stop) -> Iterator[None]:
        """Request a stop during the block once the private server has ended: nothing could be recorded any more."""
        from pymongo.errors import AutoReconnect

        server = self.server
        if server is None:
            yield
            return

        def look() -> bool:
            if has_ended := server.has_ended():
                stop.request("the database ended", error=AutoReconnect("the database ended"))
            return has_ended

        with meanwhile(look, WATCH_S, "watch"):
            yield

    def fireworks(self, log_directory: Path) -> LaunchPad:
        """Return FireWorks' launchpad here, which loads only sodiate's fireworks and logs to ``log_directory``."""
        from .fireworks_guard import GuardedLaunchPad, guard, quiet_logs

        guard()
        log_directory.mkdir(parents=True, exist_ok=True)
        settings = self.settings.model_dump(exclude={"logdir", "strm_lvl"})
        settings["mongoclient_kwargs"] = self.settings.client_options
        launchpad: LaunchPad = GuardedLaunchPad(strm_lvl="ERROR", **settings)
        quiet_logs(log_directory)
        return launchpad


@contextmanager
def open_root(root: Path) -> Iterator[Database]:
    """Open the database of a root directory on its private server, which ends with its last user.

    Raises
    ------
    MongodError
        If no server can be started there.
    """
    with private_mongod(root) as server:
        settings = LaunchpadFile(host=server.uri, name=DATABASE, uri_mode=True, mongoclient_kwargs=PATIENCE)
        try:
            with connected(settings, str(root)) as database:
                yield replace(database, server=server)
        except Unreachable:
            if _ended(server):
                raise server.explain_end() from None
            raise


def _ended(server: PrivateMongod, seconds: float = 1.0) -> bool:
    """Tell whether a server has ended; its guard needs a moment to notice."""
    end = monotonic() + seconds
    while not server.has_ended():
        if monotonic() > end:
            return False
        sleep(0.02)
    return True


@contextmanager
def open_launchpad(path: Path) -> Iterator[Database]:
    """Open the database that a FireWorks launchpad file names.

    Raises
    ------
    InputError
        If the file cannot be read.
    Unreachable
        If no server answers, also after the block began.
    DatabaseError
        If it refuses the user.
    """
    settings = validate(LaunchpadFile, load_yaml(path, "launchpad"), f"launchpad {path}")
    if settings.uri_mode and not settings.name:
        raise DatabaseError(f"launchpad {path}: uri_mode needs the key 'name', the database.")
    with connected(settings, f"launchpad {path}") as database:
        yield database


@contextmanager
def connected(settings: LaunchpadFile, title: str) -> Iterator[Database]:
    """Connect to a server by FireWorks' settings; ``title`` names the database in messages.

    Raises
    ------
    Unreachable
        If no server answers, also after the block began.
    DatabaseError
        If it refuses the user.
    """
    from pymongo.errors import ConfigurationError, ConnectionFailure, OperationFailure

    where = _address(settings)
    client, db = _client(settings, f"{title}: MongoDB at {where}")
    try:
        with _closing(client):
            client.admin.command("ping")
            _refuse_newer_schema(db, title)
            yield Database(db, title, settings)
    except ConnectionFailure as error:
        # After the first reason pymongo adds its timeouts and the topology.
        reason = str(error).split(" (configured timeouts")[0].split(", Timeout:")[0].splitlines()[0]
        reason = re.sub(r"\[Errno -?\d+\] ", "", reason)
        raise Unreachable(f"{title}: no MongoDB answers at {where} ({reason}). Is the server running?") from None
    except OperationFailure as error:
        outage = outage_of(error)
        if outage is not None:
            raise Unreachable(f"{title}: no MongoDB answers at {where} ({outage}). Is the server running?") from None
        if error.code == 13 and settings.username:
            raise DatabaseError(
                f"{title}: user {settings.username} of MongoDB at {where} has no permission for this: it needs to "
                f"write to the database {db.name} (the role readWrite)."
            ) from None
        if error.code in (13, 18):
            raise DatabaseError(
                f"{title}: MongoDB at {where} refused user {settings.username or '(none)'}: check username, "
                "password and authsource."
            ) from None
        full = no_room(Path(title), error)
        raise full or error from None
    except ConfigurationError as error:
        raise DatabaseError(f"{title}: MongoDB at {where}: {_setting_in_words(error)}") from None


@contextmanager
def _closing(client: MongoClient[dict[str, Any]]) -> Iterator[None]:
    """Close a client at the end."""
    try:
        yield
    finally:
        close(client)


def close(client: MongoClient[dict[str, Any]]) -> None:
    """Close a client; one whose server is away would wait for it to end its sessions, and has a second."""
    from pymongo import timeout

    with timeout(1.0):
        client.close()


def is_exposed(path: Path, settings: LaunchpadFile) -> bool:
    """Tell whether a launchpad file holds a password and other users of this machine may read it."""
    has_password = bool(settings.password) or (settings.uri_mode and "@" in (settings.host or ""))
    return has_password and bool(path.stat().st_mode & 0o044)


def _client(settings: LaunchpadFile, where: str) -> tuple[Any, Any]:
    """Connect as FireWorks' own LaunchPad does, but for the time it waits."""
    from pymongo import MongoClient
    from pymongo.errors import InvalidName, InvalidURI, PyMongoError

    options = settings.client_options
    name = settings.name or (DATABASE if settings.uri_mode else "fireworks")
    client: Any
    try:
        if settings.uri_mode:
            client = MongoClient(settings.host, **options)
        else:
            client = MongoClient(
                settings.host or "localhost",
                settings.port or 27017,
                username=settings.username,
                password=settings.password,
                authSource=settings.authsource or name,
                **options,
            )
        return client, client[name]
    except (PyMongoError, ValueError, TypeError, OSError) as error:  # OSError: a certificate's file
        if settings.uri_mode and "@" in (settings.host or "") and isinstance(error, (InvalidURI, ValueError)):
            raise DatabaseError(  # whose message may have a part of the password
                f"{where}: the URI of its key 'host' cannot be read. In user and password, write %3A for a colon, "
                "%2F for a slash, %40 for @ and %25 for %."
            ) from None
        if isinstance(error, InvalidName):
            raise DatabaseError(f"{where}: key name: {name!r} cannot be that of a database: {error}.") from None
        raise DatabaseError(f"{where}: {_setting_in_words(error)}") from None


def _setting_in_words(error: Exception) -> str:
    """Say what is wrong with the options of a client, of which pymongo speaks as of a function's arguments."""
    text = str(error)
    unknown = re.match(r"Unknown option:? '?(\w+)", text)
    if unknown is None:
        return text
    choices = re.search(r"one of \(([^)]*)\)", text)
    near = f"; did you mean {choices[1].split(',')[0]!r}?" if choices else ""
    return f"mongoclient_kwargs has no option {unknown[1]!r}{near} They are those of MongoDB's connection strings."


def _address(settings: LaunchpadFile) -> str:
    """Return the address of the server, without the password of a URI."""
    host = (settings.host or "localhost").rsplit("@", 1)[-1].removeprefix("mongodb://")
    return host if settings.uri_mode else f"{host}:{settings.port or 27017}"


def _refuse_newer_schema(db: MongoDatabase[dict[str, Any]], title: str) -> None:
    schema = db["sodiate"].find_one({"_id": "schema"})
    if schema is None:
        _refuse_other_data(db, title)
        return
    version = schema.get("version")
    if isinstance(version, int) and version > SCHEMA_VERSION:
        raise DatabaseError(
            f"{title} holds records of schema {version}; this sodiate knows schema {SCHEMA_VERSION} "
            "and older. Update sodiate (pip install --upgrade sodiate)."
        )
    if not known_schema(version, SCHEMA_VERSION):
        raise DatabaseError(
            f"{title}: the document {{_id: 'schema'}} of its collection 'sodiate' says version {version!r}, which no "
            f"sodiate wrote: it was changed by hand. Put back the number that was there (this sodiate writes "
            f"{SCHEMA_VERSION})."
        )


def _refuse_other_data(db: MongoDatabase[dict[str, Any]], title: str) -> None:
    if db["fw_id_assigner"].find_one() is not None:
        return
    foreign = sorted(name for name in db.list_collection_names() if name != "sodiate" and db[name].find_one())
    # Look again: another process may have prepared and filled the database meanwhile.
    if foreign and db["fw_id_assigner"].find_one() is None:
        raise DatabaseError(
            f"{title}: the database {db.name} holds {', '.join(foreign)} and is no FireWorks "
            "launchpad. Name an empty database, or run `lpad reset` in it yourself."
        )


def initialise(database: Database, launchpad: LaunchPad) -> None:
    """Prepare a database for its first campaign: FireWorks' counters, sodiate's indexes and schema version.

    FireWorks creates counters and indexes by its ``reset``, which deletes data. So it runs only in an empty database,
    and a unique document gives the right to a single process. If that process is killed, another takes over.

    Raises
    ------
    DatabaseError
        If the database holds data other than a launchpad's.
    """
    from pymongo.errors import DuplicateKeyError

    db = database.db
    if db["fw_id_assigner"].find_one() is None:
        _refuse_other_data(db, database.title)
        try:
            db["sodiate"].insert_one({"_id": "first", "by": asdict(Owner.here())})
            may_reset = True
        except DuplicateKeyError:
            may_reset = _take_over(database)
        if may_reset:
            launchpad.reset("", require_password=False, max_reset_wo_password=0)
    db["sodiate"].update_one({"_id": "schema"}, {"$setOnInsert": {"version": SCHEMA_VERSION}}, upsert=True)
    _indexes(db)


def _take_over(database: Database) -> bool:
    """Wait until another process has prepared the database; return True if it died and this process takes over."""
    end = monotonic() + 30
    while database.db["fw_id_assigner"].find_one() is None:
        first = database.db["sodiate"].find_one({"_id": "first"})
        if first and isinstance(first["by"], dict) and Owner.of(first["by"]).is_gone():
            update = {"$set": {"by": asdict(Owner.here())}}
            return database.db["sodiate"].update_one(first, update).modified_count == 1 or _take_over(database)
        if monotonic() > end:
            raise DatabaseError(
                f"{database.title}: another process began to prepare the database and did not finish; if none "
                "runs any more, remove the document {_id: 'first'} from its collection 'sodiate'."
            )
        sleep(0.1)
    return False


def _indexes(db: MongoDatabase[dict[str, Any]]) -> None:
    from pymongo.errors import DuplicateKeyError

    db["records"].create_index("calculation")
    db["records"].create_index([("calculation", 1), ("state", 1)])
    db["records"].create_index("label")
    db["jobs"].create_index("launch")
    db["attempts"].create_index([("calculation", 1), ("started", 1)])
    db["campaigns"].create_index([("campaign", 1), ("engine", 1), ("method_id", 1)])
    # An older database that has two of one calculation works on: each read refuses these in words, and once they are
    # superseded the next campaign makes the index.
    with suppress(DuplicateKeyError):
        db["records"].create_index(
            [("state", 1), ("calculation", 1)],
            unique=True,
            partialFilterExpression={"state": "current"},
            name="one_current_record",
        )
    db["arrays.chunks"].create_index([("files_id", 1), ("n", 1)], unique=True)
    db["arrays.files"].create_index([("filename", 1), ("uploadDate", 1)])
    # For the look-up of the same calculation in other campaigns, at every checkout.
    db["fireworks"].create_index("spec._tasks.calculation")
