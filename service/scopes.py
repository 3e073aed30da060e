"""What a caller must be allowed to do for each call: the one table, by the name of its view.

A view that is missing here is for administrators, until somebody has decided.
"""

PREDICT, TRAIN, METRICS, ADMIN = "predict", "train", "metrics", "admin"
SCOPES = (PREDICT, TRAIN, METRICS, ADMIN)
# Needs no key: asked by whoever watches over the service.
OPEN = ""
# Where the name of the caller's key is left, for jobs, labels and the log line.
KEY = "nnserve.key"

NEEDED = {
    "health.healthz": OPEN,
    "health.readyz": OPEN,
    "web.start": OPEN,
    "web.page": OPEN,
    "web.asset": OPEN,
    "web.document": OPEN,
    "metrics.metrics": METRICS,
    "metrics.monitoring": PREDICT,
    "predict.predict": PREDICT,
    "v2.live": OPEN,
    "v2.ready": OPEN,
    "v2.server": PREDICT,
    "v2.show": PREDICT,
    "v2.model_ready": PREDICT,
    "v2.config": PREDICT,
    "v2.stats": PREDICT,
    "v2.all_stats": PREDICT,
    "v2.infer": PREDICT,
    "v2_repository.index": PREDICT,
    "v2_repository.load": ADMIN,
    "v2_repository.unload": ADMIN,
    "models.list_models": PREDICT,
    "models.show_model": PREDICT,
    "models.show_version": PREDICT,
    "versions.show_label": PREDICT,
    "train.start": TRAIN,
    "train.list_jobs": TRAIN,
    "train.show": TRAIN,
    "train.events": TRAIN,
    "train.cancel": TRAIN,
    "train.retry": TRAIN,
    "datasets.upload": TRAIN,
    "datasets.list_datasets": TRAIN,
    "datasets.show": TRAIN,
    "datasets.show_sheet": TRAIN,
    "datasets.delete": ADMIN,
    "versions.upload": ADMIN,
    "versions.download": ADMIN,
    "versions.delete": ADMIN,
    "versions.move_label": ADMIN,
    "versions.drop_label": ADMIN,
}


def needed(endpoint: str) -> str:
    """Return the scope that a view needs, OPEN for none."""
    return NEEDED.get(endpoint, ADMIN)
