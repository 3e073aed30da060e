"""The walls: who may import whom. Imports are read from the source, also those inside functions."""

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# A module imports only what stands above it. A folder's own name stands for its `__init__`.
NNCORE = [
    "nncore",
    "nncore.errors",
    "nncore.types",
    "nncore.files",
    "nncore.allocation",
    "nncore.config",
    "nncore.columns",
    "nncore.randomness",
    "nncore.ops",
    "nncore.initializers",
    "nncore.parameters",
    "nncore.layers",
    "nncore.windows",
    "nncore.winograd",
    "nncore.convolution",
    "nncore.pooling",
    "nncore.normalization",
    "nncore.kinds",
    "nncore.sequence",
    "nncore.averaging",
    "nncore.ensemble",
    "nncore.network",
    "nncore.losses",
    "nncore.metrics",
    "nncore.optimizers",
    "nncore.schedules",
    "nncore.image_headers",
    "nncore.images",
    "nncore.ink",
    "nncore.pictures",
    "nncore.preprocessing",
    "nncore.datasets.dataset",
    "nncore.datasets.sources",
    "nncore.datasets.identity",
    "nncore.datasets.room",
    "nncore.datasets.zips",
    "nncore.datasets.dividing",
    "nncore.datasets.targets",
    "nncore.datasets.idx",
    "nncore.datasets.digits",
    "nncore.datasets.small",
    "nncore.datasets.cells",
    "nncore.datasets.csv_columns",
    "nncore.datasets.csv_file",
    "nncore.datasets.arrays",
    "nncore.datasets.npz",
    "nncore.datasets.picture_folder",
    "nncore.datasets.stored",
    "nncore.datasets.summary",
    "nncore.datasets.loading",
    "nncore.datasets.guessing",
    "nncore.datasets",
    "nncore.evaluation",
    "nncore.augmentation",
    "nncore.progress",
    "nncore.checkpoints",
    "nncore.descent",
    "nncore.training",
    "nncore.starting",
    "nncore.target_scale",
    "nncore.memory",
    "nncore.recipe",
    "nncore.starter",
    "nncore.importing",
    "nncore.reference",
    "nncore.artifact",
    "nncore.origin",
    "nncore.folding",
    "nncore.program",
    "nncore.workspace",
    "nncore.predictor",
    "nncore.explaining",
    "nncore.tasks",
    "nncore.member",
    "nncore.merging",
    "nncore.inspection",
    "nncore.profiles",
    "nncore.stopwatch",
    "nncore.profiling",
    "nncore.gradcheck",
    "nncore.publishing",
    "nncore.onnx_graph",
    "nncore.onnx_layers",
    "nncore.onnx",
    "nncore.contact_sheet",
    "nncore.bar",
    "nncore.resuming",
    "nncore.crew",
    "nncore.members",
    "nncore.sweep.grid",
    "nncore.sweep.ranking",
    "nncore.sweep.display",
    "nncore.sweep.report",
    "nncore.sweep.shown",
    "nncore.sweep.picture",
    "nncore.sweep.folder",
    "nncore.sweep.trying",
    "nncore.sweep",
    "nncore.arguments",
    "nncore.cli",
    "nncore.__main__",
]

SERVICE = [
    "service.database",
    "service.schema",
    "service.scopes",
    "service.settings",
    "service.port",
    "service.descriptors",
    "service.memory",
    "service.stopping",
    "service.connection",
    "service.line",
    "service.application",
    "service.requestid",
    "service.tracing",
    "service.problems",
    "service.keys",
    "service.keyring",
    "service.hosts",
    "service.auth",
    "service.codec",
    "service.errors",
    "service.fields",
    "service.schemas",
    "service.uploads",
    "service.receiving",
    "service.dataset_forms",
    "service.importing",
    "service.inputs",
    "service.contents",
    "service.provenance",
    "service.labels",
    "service.loading",
    "service.seeding",
    "service.history",
    "service.judging",
    "service.gate",
    "service.promotion",
    "service.store",
    "service.metrics",
    "service.pressure",
    "service.front",
    "service.observe",
    "service.refusals",
    "service.shortcuts",
    "service.worker",
    "service.jobs",
    "service.jobs.job",
    "service.versions",
    "service.references",
    "service.datasets",
    "service.pinning",
    "service.spare",
    "service.retention",
    "service.jobs.ledger",
    "service.jobs.leases",
    "service.jobs.queue",
    "service.jobs.plans",
    "service.jobs.heart",
    "service.jobs.progress",
    "service.jobs.publishing",
    "service.jobs.run",
    "service.jobs.sweeping",
    "service.jobs.trainer",
    "service.version_schemas",
    "service.job_schemas",
    "service.dataset_schemas",
    "service.streams",
    "service.tally",
    "service.layout",
    "service.sketch",
    "service.drift",
    "service.monitoring",
    "service.report",
    "service.monitoring_schemas",
    "service.jobs.figures",
    "service.processes",
    "service.exposition",
    "service.asking",
    "service.callers",
    "service.counters",
    "service.ratelimit",
    "service.bodies",
    "service.queries",
    "service.v2",
    "service.v2.datatypes",
    "service.v2.json_data",
    "service.v2.binary_data",
    "service.v2.encoding",
    "service.v2.requests",
    "service.v2.metadata",
    "service.v2.inputs",
    "service.v2.answers",
    "service.v2.statistics",
    "service.openapi_answers",
    "service.openapi_v2",
    "service.openapi_calls",
    "service.openapi_words",
    "service.openapi_headers",
    "service.openapi_examples",
    "service.openapi_fields",
    "service.openapi",
    "service.api",
    "service.api.datasets",
    "service.api.health",
    "service.api.metrics",
    "service.api.models",
    "service.api.predict",
    "service.api.train",
    "service.api.v2",
    "service.api.v2_repository",
    "service.api.versions",
    "service.api.web",
    "service",
    "service.sending",
    "service.remote",
    "service.remote.errors",
    "service.remote.results",
    "service.remote.reading",
    "service.remote.retries",
    "service.remote.transport",
    "service.remote.calls",
    "service.remote.pictures",
    "service.remote.tensors",
    "service.remote.streams",
    "service.remote.jobs",
    "service.remote.bar",
    "service.remote.predicting",
    "service.remote.training",
    "service.remote.models",
    "service.remote.datasets",
    "service.client",
    "service.alive",
    "service.checks",
    "service.supervisor",
    "service.cli_output",
    "service.cli_calling",
    "service.cli_tables",
    "service.cli_examples",
    "service.cli_predict",
    "service.cli_jobs",
    "service.cli_recipe",
    "service.cli_train",
    "service.cli_completion",
    "service.cli_models",
    "service.cli_datasets",
    "service.cli_keys",
    "service.cli_check",
    "service.cli",
]

ORDER = {"nncore": NNCORE, "service": SERVICE}
NNCORE_NEEDS = {"numpy", "safetensors", "threadpoolctl", "tqdm"}
# What one module needs, and imports only when it is asked to work.
NNCORE_EXTRAS = {"nncore.images": {"PIL"}, "nncore.onnx": {"onnx"}, "nncore.sweep.picture": {"matplotlib"}}


def modules(package):
    """Return the source of every module of a package by its dotted name."""
    found = {}
    for path in sorted((ROOT / package).rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path.read_text()
    return found


def imports(name, source, known):
    """Return the modules that a module imports by dotted name; `from a import b` is a.b if that is one."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name} imports relatively"
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {module if module in known else node.module for module in inner}
    return found


@pytest.fixture(scope="module")
def graph():
    sources = modules("nncore") | modules("service")
    return {name: imports(name, source, sources) for name, source in sources.items()}


def roots(names):
    return {name.partition(".")[0] for name in names}


def test_nncore_imports_numpy_and_few_others_and_never_the_service(graph):
    for name, imported in graph.items():
        if roots([name]) == {"nncore"}:
            needs = NNCORE_NEEDS | NNCORE_EXTRAS.get(name, set())
            assert roots(imported) <= {"nncore"} | needs | sys.stdlib_module_names, name


def upwards(graph, order):
    """Return the imports that do not go down in an order."""
    place = {name: number for number, name in enumerate(order)}
    return [
        f"{name} imports {other}"
        for name, imported in graph.items()
        for other in imported
        if name in place and other in place and place[other] >= place[name]
    ]


@pytest.mark.parametrize("package", ORDER)
def test_every_module_has_its_place_in_the_order(graph, package):
    assert {name for name in graph if roots([name]) == {package}} <= set(ORDER[package])
    assert len(set(ORDER[package])) == len(ORDER[package])


@pytest.mark.parametrize("package", ORDER)
def test_imports_go_only_downwards(graph, package):
    assert upwards(graph, ORDER[package]) == []


def test_no_imports_go_in_a_circle(graph):
    known = {name: imported & graph.keys() for name, imported in graph.items()}
    assert len(list(TopologicalSorter(known).static_order())) == len(graph)


def test_an_import_upwards_is_seen():
    assert upwards({"b": {"a", "c"}, "c": {"a", "b"}, "a": {"a"}}, ["a", "b", "c"]) == [
        "b imports c",
        "a imports a",
    ]


def test_an_import_inside_a_function_or_of_a_name_is_seen():
    source = "from a import b, c\ndef f():\n    import d.e\n    from g.h import i\n"
    assert imports("x", source, {"a", "a.b", "g.h"}) == {"a.b", "a", "d.e", "g.h"}


def loaded_by(statement):
    """Return the modules that are loaded after a statement in a fresh interpreter."""
    script = f"{statement}; import sys; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script], capture_output=True, text=True, check=True, cwd=ROOT
    )
    return set(done.stdout.split())


@pytest.mark.parametrize(
    "module",
    [
        "service",
        "service.client",
        "service.cli",
    ],
)
def test_a_client_needs_neither_flask_nor_the_engine(module):
    loaded = roots(loaded_by(f"import {module}"))
    assert module.partition(".")[0] in loaded
    assert not loaded & {"flask", "werkzeug", "marshmallow", "gunicorn", "numpy", "nncore"}


@pytest.mark.parametrize(
    "module",
    ["service.store", "service.promotion", "service.versions", "service.datasets", "service.retention"],
)
def test_what_keeps_the_models_needs_no_flask(module):
    loaded = roots(loaded_by(f"import {module}"))
    assert "sqlalchemy" in loaded or module == "service.store"
    assert not loaded & {"flask", "werkzeug", "gunicorn"}


def test_the_engine_loads_nothing_of_the_service():
    loaded = roots(loaded_by("import nncore.cli"))
    assert "numpy" in loaded
    assert not loaded & {"service", "flask", "requests", "PIL", "onnx"}
