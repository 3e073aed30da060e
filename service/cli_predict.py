"""`nnserve predict`: a model's answers for pictures, tables and arrays."""

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import click

from service.cli_calling import STDIN, asking, url_option
from service.cli_examples import Batch, batches
from service.cli_output import Table, print_csv, print_json

if TYPE_CHECKING:
    from service.client import Client, Prediction, Predictions, ProblemError

_INVALID = 422


class _File(click.Path):
    """A file that is there, or standard input."""

    def __init__(self) -> None:
        super().__init__(exists=True, dir_okay=False, allow_dash=True)


@click.command(short_help="Ask a model about pictures, tables or arrays.")
@click.argument("model")
@click.argument("files", nargs=-1, required=True, type=_File(), metavar="FILE...")
@click.option("--version", "version_", help="A version's number or a label; without it, stable.")
@click.option("--json", "form", flag_value="json", help="A JSON object a line, with all probabilities.")
@click.option("--csv", "form", flag_value="csv", help="CSV, with a line of titles.")
@url_option
def predict(model: str, files: tuple[str, ...], version_: str | None, form: str | None, url: str) -> None:
    """Ask MODEL about FILEs: pictures, CSV, JSON, or - for standard input.

    Prints a line an example: where it stands, the label and how sure that is, or the value.
    """
    if files.count(STDIN) > 1:
        raise click.UsageError("standard input can be read once")
    show = {"json": _show_json, "csv": _csv(), None: _table()}[form]
    with asking(url) as client:
        for batch, answer in _answers(client, model, version_, files):
            show(batch, answer)


def _answers(
    client: "Client", model: str, version: str | None, files: Sequence[str]
) -> Iterator[tuple[Batch, "Predictions"]]:
    """Yield each batch with its answer, all of them from one version, also where another becomes stable."""
    asked: int | str | None = version

    def columns() -> Sequence[Any]:
        nonlocal asked
        told = client.version(model, asked or "stable")
        asked = told.version
        found: Sequence[Any] = (told.input or {}).get("columns", ())
        return found

    for batch in batches(files, columns):
        for part, answer in _ask(client, model, asked, batch):
            asked = answer.version
            yield part, answer


def _ask(
    client: "Client", model: str, version: int | str | None, batch: Batch
) -> Iterator[tuple[Batch, "Predictions"]]:
    from service.client import ProblemError

    try:
        if batch.pictures:
            answer = client.predict(model, pictures=batch.pictures, version=version)
        else:
            answer = client.predict(model, batch.inputs, version=version)
    except ProblemError as problem:
        if problem.status != _INVALID:
            raise
        if len(batch.pictures) < 2:
            raise _placed(problem, batch) from None
        # Together they may have more pixels than a request takes; else it is the wrong one that is told.
        for single in batch.singly():
            yield from _ask(client, model, version, single)
    else:
        yield batch, answer


def _placed(problem: "ProblemError", batch: Batch) -> "ProblemError":
    """Return a problem that says of each error in which file, and in which row, it is."""
    from service.client import ProblemError

    errors = []
    for error in problem.problem.get("errors", []):
        _, kind, index, *rest = [*str(error["pointer"]).split("/"), "", ""]
        if kind in ("inputs", "image") and index.isdecimal():
            file, row = batch.place(int(index))
            place = "".join(f", {part}" for part in rest if part)
            error = {**error, "pointer": f"{file}{'' if row is None else f', row {row}'}{place}:"}
        errors.append(error)
    return ProblemError(problem.status, {**problem.problem, "errors": errors})


def _table() -> Callable[[Batch, "Predictions"], None]:
    table: Table | None = None

    def show(batch: Batch, answer: "Predictions") -> None:
        nonlocal table
        labelled = bool(answer.labels)
        table = table or Table("file", *(["label", "confidence"] if labelled else ["value"]))
        table.print(
            [[_source(batch, n), *_cells(one, exact=False)] for n, one in enumerate(answer.predictions)]
        )

    return show


def _csv() -> Callable[[Batch, "Predictions"], None]:
    begun = False

    def show(batch: Batch, answer: "Predictions") -> None:
        nonlocal begun
        titles = ["file", "row", *(["label", "confidence"] if answer.labels else ["value"])]
        rows = [[*batch.place(n), *_cells(one, exact=True)] for n, one in enumerate(answer.predictions)]
        print_csv(rows if begun else [titles, *rows])
        begun = True

    return show


def _show_json(batch: Batch, answer: "Predictions") -> None:
    for n, one in enumerate(answer.predictions):
        file, row = batch.place(n)
        told: dict[str, Any] = {"file": file} | ({} if row is None else {"row": row})
        told |= {"model": answer.model, "version": answer.version}
        if one.label is None:
            told["value"] = one.value
        else:
            told |= {"label": one.label, "confidence": one.confidence}
            told["probabilities"] = dict(zip(answer.labels, one.probabilities, strict=True))
        print_json(told)


def _source(batch: Batch, index: int) -> str:
    file, row = batch.place(index)
    return file if row is None else f"{file}:{row}"


def _cells(one: "Prediction", *, exact: bool) -> list[Any]:
    if one.label is None:
        return [" ".join(map(str, one.value)) if isinstance(one.value, list) else one.value]
    return [one.label, one.confidence if exact else f"{one.confidence:.4f}"]
