"""The exceptions a caller of nncore may catch.

NNCoreError
├── RecipeError      a recipe that cannot be read or cannot work; says which field
├── DatasetError     a data file that is truncated, mislabelled or not what its name says
├── InputError       an array of the wrong shape, kind or range
│   ├── PictureError a picture that cannot be read, or that holds nothing to read
│   └── RowError     rows by column name that do not fit a model's columns
├── TrainingError    a run that went wrong: says the epoch, the batch and the likely cause
├── CheckpointError  a checkpoint that is of another run
├── ArtifactError    a model file that must not be served; says which check it failed
└── ExportError      a model that cannot be written as what it was to become
"""


class NNCoreError(Exception):
    """Base of every error that nncore raises on purpose."""


class RecipeError(NNCoreError):
    """A recipe that cannot be read or cannot work."""

    def __init__(self, problems: dict[str, str]) -> None:
        """`problems` maps the path of a field, e.g. `network[1].units`, to what would be right."""
        self.problems = problems
        super().__init__("; ".join(f"{path}: {text}" if path else text for path, text in problems.items()))


class DatasetError(NNCoreError):
    """A data file that is truncated, mislabelled or not what its name says."""


class InputError(NNCoreError):
    """An array of the wrong shape, kind or range."""


class PictureError(InputError):
    """A picture that cannot be read, or that holds nothing to read."""


class RowError(InputError):
    """Rows by column name that do not fit a model's columns."""

    def __init__(self, mistakes: list[tuple[int, str, str]]) -> None:
        """`mistakes` are a row's index, the column's name, or "" for the row itself, and what is wrong."""
        self.mistakes = mistakes
        told = (
            f"row {row}" + (f", column {name[:100]!r}" if name else "") + f": {text}"
            for row, name, text in mistakes
        )
        super().__init__("; ".join(told))


class TrainingError(NNCoreError):
    """A training run that went wrong."""


class CheckpointError(NNCoreError):
    """A checkpoint that must not be gone on from: it is of another run."""


class ArtifactError(NNCoreError):
    """A model file that must not be served."""


class ExportError(NNCoreError):
    """A file that was asked for, a model in another format say, and cannot be written."""
