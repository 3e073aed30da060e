"""Whether a service could start here and would be well: settings, database, store, recipes, disk and port."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from http.client import HTTPConnection, HTTPException
from pathlib import Path

from sqlalchemy.exc import DBAPIError

from nncore.errors import NNCoreError
from nncore.publishing import NAME, versions
from nncore.recipe import check, read_recipe
from service.database import SQLITE, Database, parse_url, reason
from service.hosts import is_loopback
from service.jobs.plans import outline
from service.keys import Key, Keys
from service.labels import labels_of
from service.loading import Loading
from service.port import taken
from service.problems import Conflict
from service.retention import Retention
from service.schema import schema_number
from service.settings import Settings, SettingsError, read_settings

ANSWER_SECONDS = 3


@dataclass(frozen=True)
class Finding:
    """What one look found: `ok`, or what is wrong and what would be right."""

    about: str
    ok: bool
    detail: str


class Wrong(Exception):
    """Something is not as it must be; the message says what would be right."""


def findings() -> Iterator[Finding]:
    """Yield what is found, one thing after the other; whatever goes wrong is a finding too."""
    try:
        settings = read_settings()
    except SettingsError as error:
        yield Finding("settings", False, str(error))
        return
    yield Finding("settings", True, "all can be used")
    looks: dict[str, Callable[[Settings], str]] = {
        "database": _database,
        "keys": _keys,
        "recipes": _recipes,
        "disk": _disk,
        "port": _port,
    }
    for about, look in looks.items():
        yield _looked(about, partial(look, settings))
    yield from _store(settings)


def _looked(about: str, look: Callable[[], str]) -> Finding:
    try:
        return Finding(about, True, look())
    except (Wrong, Conflict, NNCoreError) as error:
        return Finding(about, False, str(error))
    except DBAPIError as error:
        return Finding(about, False, f"the database does not answer: {reason(error)}")
    except Exception as error:
        return Finding(about, False, f"{type(error).__name__}: {error}")


def _database(settings: Settings) -> str:
    url = parse_url(settings.database_url)
    shown = url.render_as_string(hide_password=True)
    if _is_missing(settings):
        return f"{shown} will be made at the start"
    number, newest = schema_number(Database(url))
    if number is None:
        return f"{shown} answers, and its tables will be made at the start"
    if number > newest:
        raise Wrong(f"{shown} has schema {number}, this nnserve knows up to {newest}: upgrade it")
    older = f", which the start brings up to {newest}" if number < newest else ""
    return f"{shown} answers, with schema {number}{older}"


def _keys(settings: Settings) -> str:
    keys = [] if _is_missing(settings) else _all_keys(settings)
    live = [key.name for key in keys if key.revoked is None]
    anonymous = settings.allow_anonymous or "nothing"
    if keys or settings.admin_key:
        return f"{len(live) + bool(settings.admin_key)} keys; without one: {anonymous}"
    if is_loopback(settings.host) and not settings.trusted_proxies:
        return f"none; this machine may do {settings.allow_anonymous or 'everything'}"
    if not settings.allow_anonymous:
        raise Wrong(
            f"none, and anybody who reaches {settings.host} could call: make one (nnserve keys create NAME "
            "--admin), or set NNSERVE_ALLOW_ANONYMOUS=predict,train"
        )
    return f"none; whoever reaches {settings.host} may do: {anonymous}"


def _all_keys(settings: Settings) -> list[Key]:
    database = Database(parse_url(settings.database_url))
    number, newest = schema_number(database)
    return Keys(database).all() if number == newest else []


def _recipes(settings: Settings) -> str:
    files = sorted(settings.shipped_recipes.glob("*.json"))
    for file in files:
        try:
            recipe = read_recipe(file.read_bytes())
            check(recipe, outline(settings.model_store, recipe.dataset))
        except (NNCoreError, Conflict) as error:
            raise Wrong(f"{file}: {error}") from None
    return f"{len(files)} in {settings.shipped_recipes}"


def _disk(settings: Settings) -> str:
    if _is_missing(settings) and not settings.model_store.exists():
        return f"nothing of {settings.max_disk:,} bytes is used yet"
    used = Retention(Database(parse_url(settings.database_url)), settings).used()
    if used > settings.max_disk:
        raise Wrong(
            f"{used:,} bytes are used, and {settings.max_disk:,} may be: delete versions or datasets that "
            "nobody needs, or raise NNSERVE_MAX_DISK"
        )
    return f"{used:,} of {settings.max_disk:,} bytes are used"


def _port(settings: Settings) -> str:
    where = f"{settings.host}:{settings.port}"
    why = taken(settings.host, settings.port)
    if why is None:
        return f"{where} is free"
    if _is_served_by_us(settings):
        return f"nnserve answers at {where}"
    raise Wrong(f"{where} cannot be listened on ({why}): choose another NNSERVE_PORT")


def _is_served_by_us(settings: Settings) -> bool:
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host, settings.host)  # noqa: S104
    connection = HTTPConnection(host, settings.port, timeout=ANSWER_SECONDS)
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().read() == b'{"status":"alive"}'
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()


def _store(settings: Settings) -> Iterator[Finding]:
    """Look at every version of every model: it loads, and answers what it knows the answers to."""
    root = settings.model_store
    models = sorted(path for path in root.iterdir() if NAME.fullmatch(path.name)) if root.is_dir() else []
    if not models:
        yield Finding("store", True, f"{root} has no models yet: those that are shipped come at the start")
    for model in models:
        yield _looked(f"model {model.name}", partial(_model, model))


def _model(model: Path) -> str:
    numbers = versions(model)
    labels = labels_of(model, numbers)
    wrong = [
        f"version {number} cannot be served: {why}" for number in numbers if (why := _failure(model, number))
    ]
    wrong += [
        f"{name} names version {n}, which is not there" for name, n in labels.items() if n not in numbers
    ]
    if wrong:
        raise Wrong(f"{'; '.join(wrong)}: point labels at other versions, and delete what cannot be served")
    pointed = ", ".join(f"{name} {number}" for name, number in sorted(labels.items()))
    many = f"{len(numbers)} versions load and pass" if len(numbers) > 1 else "its version loads and passes"
    return f"{many} the known answers; {pointed or 'no labels'}"


def _failure(model: Path, number: int) -> str:
    """Return why a version cannot be served; it is let go again at once."""
    loading = Loading(model, [number], {})
    loading.get(number)
    return loading.failures.get(number, "")


def _is_missing(settings: Settings) -> bool:
    url = parse_url(settings.database_url)
    # None is made by a look at it.
    return url.get_backend_name() == SQLITE and not Path(str(url.database)).exists()
