"""Workspaces: a thread's room to send rows through a program."""

import math

import numpy as np

from nncore.program import INPUTS, Program, Slot
from nncore.types import FloatArray, Shape


class Workspace:
    """One thread's buffers for up to `rows` rows. Nothing is allocated from the second batch of a size on."""

    def __init__(self, program: Program, rows: int) -> None:
        self.program, self.rows = program, rows
        self.buffers = [np.empty(rows * size, np.float32) for size in program.buffer_sizes]
        self.scratch = np.empty(max((stage.scratch_size for stage in program.stages), default=0), np.float32)
        self._lay_out(rows)

    def inputs(self, count: int) -> FloatArray:
        """Return the room, (count, *input_shape), where `run` expects its inputs."""
        if count != len(self._inputs):
            self._lay_out(count)
        return self._inputs

    def run(self) -> FloatArray:
        """Return the raw outputs for the inputs; valid until inputs are written again."""
        for stage, x, out in self.work:
            stage.run(x, out, self.scratch)
        return self._outputs

    def _lay_out(self, count: int) -> None:
        program = self.program
        self._inputs = self._part(Slot(INPUTS), count, program.input_shape)
        self._outputs = self._part(program.end, count, program.output_shape)
        self.work = [
            (
                stage,
                self._part(stage.source, count, stage.input_shape),
                self._part(stage.target, count, stage.output_shape),
            )
            for stage in program.stages
        ]

    def _part(self, slot: Slot, count: int, shape: Shape) -> FloatArray:
        start, size = slot.start * count, count * math.prod(shape)
        return self.buffers[slot.buffer][start : start + size].reshape(count, *shape)
