"""What a profile says: the parts of some work, how long each takes, and how much of the peak that is."""

from dataclasses import dataclass

HEAD = ("", "output", "multiply-adds", "µs a row", "share", "GFLOP/s", "of peak")


@dataclass(frozen=True)
class Line:
    """A part of the work on a row: what it is, its output, its multiply-adds, and its seconds."""

    name: str
    output: str
    multiply_adds: int
    seconds: float


@dataclass(frozen=True)
class Profile:
    """The work on so many rows at once, part by part; `title` says what is done to them.

    `peak` is how many multiply-adds a second a large matrix product reaches.
    """

    title: str
    rows: int
    lines: tuple[Line, ...]
    peak: float

    @property
    def total(self) -> Line:
        """All lines together."""
        multiply_adds = sum(line.multiply_adds for line in self.lines)
        return Line("total", "", multiply_adds, sum(line.seconds for line in self.lines))


def profile_text(profile: Profile) -> str:
    """Return a profile as a table."""
    total = profile.total
    rows = [HEAD, *(_cells(line, total, profile.peak) for line in (*profile.lines, total))]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    speed = f"{1000 * profile.rows * total.seconds:,.3f} ms, {1 / total.seconds:,.0f} rows a second"
    lines = [f"{profile.title}: {speed}; a large matrix product: {_gigaflops(profile.peak)} GFLOP/s"]
    for name, *cells in rows:
        numbers = [cell.rjust(width) for cell, width in zip(cells, widths[1:], strict=True)]
        lines.append("  ".join([name.ljust(widths[0]), *numbers]).rstrip())
    return "\n".join(lines)


def _cells(line: Line, total: Line, peak: float) -> tuple[str, ...]:
    name, output, products = line.name, line.output, line.multiply_adds
    time, share = f"{1e6 * line.seconds:,.2f}", f"{line.seconds / total.seconds:.1%}"
    if not products:
        return name, output, "", time, share, "", ""
    speed = products / line.seconds
    return name, output, f"{products:,}", time, share, _gigaflops(speed), f"{speed / peak:.0%}"


def _gigaflops(multiply_adds: float) -> str:
    # Each is two operations.
    return f"{2e-9 * multiply_adds:.1f}"
