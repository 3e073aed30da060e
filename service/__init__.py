"""The HTTP service: `create_app` wires settings, database, store and views into one Flask application.

Imports stand inside, so that `import service.client` needs no Flask.
"""

import sys
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flask import Flask

    from service.settings import Settings


def create_app(settings: "Settings | None" = None) -> "Flask":
    """Return the application; without settings they are read from the environment (NNSERVE_*)."""
    from sqlalchemy.exc import SQLAlchemyError
    from werkzeug.middleware.proxy_fix import ProxyFix

    from service import auth, errors, observe
    from service.api import (
        datasets,
        health,
        metrics,
        models,
        predict,
        train,
        v2,
        v2_repository,
        versions,
        web,
    )
    from service.application import Application
    from service.database import Database, parse_url, reason
    from service.datasets import Datasets
    from service.exposition import Exposition
    from service.front import Front
    from service.hosts import Hosts
    from service.jobs.figures import Reader
    from service.jobs.ledger import Ledger
    from service.jobs.queue import Queue
    from service.keyring import Keyring
    from service.metrics import Metrics
    from service.monitoring import Monitoring
    from service.pressure import Pressure
    from service.promotion import Promotions
    from service.refusals import Refusals
    from service.retention import Retention
    from service.schema import Unusable, migrate
    from service.seeding import seed
    from service.settings import read_settings
    from service.store import Store
    from service.tally import Tally
    from service.v2.statistics import Statistics
    from service.versions import Versions

    settings = settings or read_settings()
    observe.configure_logging(settings)
    database = Database(parse_url(settings.database_url))
    try:
        # The one place before the workers fork; it closes its connections again.
        migrate(database)
        keyring = Keyring(database, settings.admin_key)
        hosts = Hosts(settings)
        guard = auth.Guard(settings, keyring, hosts)
    except SQLAlchemyError as error:
        sys.exit(f"nnserve: the database does not answer: {reason(error)}")
    except (Unusable, auth.Unguarded) as error:
        sys.exit(f"nnserve: {error}")
    seed(settings.model_store, settings.shipped_models)
    store = Store(settings.model_store)
    store.entries()
    tally, counters = Tally(), Metrics()
    store.on_change = counters.looked_anew
    monitoring = Monitoring(tally)

    app = Application("service", static_folder=None)
    app.extensions["settings"] = settings
    app.extensions["store"] = store
    app.extensions["versions"] = Versions(database, settings.model_store)
    app.extensions["promotions"] = Promotions(database, settings.model_store)
    app.extensions["retention"] = Retention(database, settings)
    app.extensions["queue"] = Queue(database)
    app.extensions["ledger"] = Ledger(
        database, most_queued=settings.max_queued, most_queued_by_one=settings.max_queued_by_client
    )
    app.extensions["datasets"] = Datasets(database, settings.model_store)
    app.extensions["dataset_seats"] = threading.BoundedSemaphore(datasets.UPLOADS_AT_ONCE)
    app.extensions["stream_seats"] = threading.BoundedSemaphore(settings.streams)
    app.extensions["keyring"] = keyring
    app.extensions["tally"] = tally
    app.extensions["metrics"] = counters
    app.extensions["monitoring"] = monitoring
    app.extensions["exposition"] = Exposition(tally, counters, store, monitoring, Reader(database))
    app.extensions["v2_statistics"] = Statistics()
    app.extensions["refusals"] = Refusals(settings, hosts, counters)
    errors.init_app(app)
    auth.init_app(app, guard)
    if settings.rate_limit:
        from service import ratelimit

        ratelimit.init_app(app, settings.rate_limit)
    for view in (predict, models, versions, train, datasets, v2, v2_repository, metrics, health, web):
        app.register_blueprint(view.blueprint)
    app.wsgi_app = Pressure(app.wsgi_app, settings.threads)  # type: ignore[method-assign]
    app.wsgi_app = Front(app.wsgi_app, settings, hosts)  # type: ignore[method-assign]
    app.wsgi_app = observe.Observed(app.wsgi_app, settings, counters)  # type: ignore[method-assign]
    if hops := settings.trusted_proxies:
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=hops, x_proto=hops, x_host=0)  # type: ignore[method-assign]
    return app
