"""Workspaces: a thread's room to send rows through a program."""

import math
from dataclasses import dataclass

import numpy as np

from nncore.program import INPUTS, Program, Slot, Stage
from nncore.types import FloatArray, Shape

# Batches of one size come in parts of two: as many rows as are best sent together, and what is left over.
MOST_LAYOUTS = 2


@dataclass(frozen=True)
class Layout:
    """Where in the buffers so many rows lie: as inputs, at each stage as its x and `out`, and as outputs."""

    inputs: FloatArray
    work: tuple[tuple[Stage, FloatArray, FloatArray], ...]
    outputs: FloatArray


class Workspace:
    """One thread's buffers for up to `rows` rows. Nothing is allocated from the second batch of a size on."""

    def __init__(self, program: Program, rows: int) -> None:
        self.program, self.rows = program, rows
        self.buffers = [np.empty(rows * size, np.float32) for size in program.buffer_sizes]
        self.scratch = np.empty(max((stage.scratch_size for stage in program.stages), default=0), np.float32)
        self._layouts: dict[int, Layout] = {}

    def lay_out(self, count: int) -> Layout:
        """Return where so many rows lie. What `run` leaves there is valid until it is called again."""
        if count not in self._layouts:
            while len(self._layouts) >= MOST_LAYOUTS:
                del self._layouts[next(iter(self._layouts))]
            self._layouts[count] = self._lay_out(count)
        return self._layouts[count]

    def run(self, layout: Layout) -> FloatArray:
        """Return the raw outputs for the inputs that were written."""
        for stage, x, out in layout.work:
            stage.run(x, out, self.scratch)
        return layout.outputs

    def _lay_out(self, count: int) -> Layout:
        program = self.program
        work = [
            (
                stage,
                self._part(stage.source, count, stage.input_shape),
                self._part(stage.target, count, stage.output_shape),
            )
            for stage in program.stages
        ]
        inputs = self._part(Slot(INPUTS), count, program.input_shape)
        return Layout(inputs, tuple(work), self._part(program.end, count, program.output_shape))

    def _part(self, slot: Slot, count: int, shape: Shape) -> FloatArray:
        start, size = slot.start * count, count * math.prod(shape)
        return self.buffers[slot.buffer][start : start + size].reshape(count, *shape)
