import asyncio

import pytest

from nncore.crew import side_by_side


def work_that_puts_away(away, error=None):
    """Return work that never ends by itself and takes the longer to put away the larger its number is."""

    async def work(number):
        try:
            if error and number == 1:
                raise error
            await asyncio.Event().wait()
        finally:
            for _ in range(10 * number):
                await asyncio.sleep(0)
            away.append(number)

    return work


def test_left_by_ctrl_c_all_have_come_to_their_end():
    async def left():
        task = asyncio.create_task(side_by_side(work_that_puts_away(away), (1, 2, 3)))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        task.cancel()
        await task

    away = []
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(left())
    assert away == [1, 2, 3]


def test_the_error_of_one_ends_all_and_is_the_one_that_is_seen():
    away = []
    with pytest.raises(BrokenPipeError, match="gone"):
        asyncio.run(side_by_side(work_that_puts_away(away, BrokenPipeError("gone")), (1, 2)))
    assert away == [1, 2]


def test_each_gives_what_it_gives_in_the_order_of_the_numbers():
    async def work(number):
        for _ in range(5 - number):
            await asyncio.sleep(0)
        return number * number

    assert asyncio.run(side_by_side(work, (1, 2, 3))) == [1, 4, 9]
