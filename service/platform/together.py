"""Questions of many requests, asked in one trip: who comes while one is out waits for the next."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

Q = TypeVar("Q")
A = TypeVar("A")

_QUESTIONS_MAX = 64


class Together(Generic[Q, A]):
    """One trip after the other, each with all the questions that came until it began.

    A trip to Redis or PostgreSQL costs this process more than what one question adds to it. What
    is asked here is never answered by a trip that began before, and goes on without whoever asked.
    """

    def __init__(self, ask_all: Callable[[Sequence[Q]], Awaitable[Sequence[A]]]) -> None:
        """`ask_all` is a trip: it answers these questions in their order."""
        self._ask_all = ask_all
        self._waiting: list[tuple[Q, asyncio.Future[A]]] = []
        self._trips: asyncio.Task[None] | None = None

    def ask(self, question: Q) -> "asyncio.Future[A]":
        """What the next trip will answer, or raise."""
        answer: asyncio.Future[A] = asyncio.get_running_loop().create_future()
        self._waiting.append((question, answer))
        if self._trips is None:
            self._trips = asyncio.create_task(self._travel())
        return answer

    async def _travel(self) -> None:
        try:
            while self._waiting:
                asked = self._waiting[:_QUESTIONS_MAX]
                del self._waiting[:_QUESTIONS_MAX]
                try:
                    answers = await self._ask_all([question for question, _ in asked])
                except Exception as error:  # noqa: BLE001 - told to everybody who asked
                    # Whoever waits already would only wait as long for the same.
                    _fail([*asked, *self._waiting], error)
                    self._waiting = []
                    continue
                for (_, waiting), answer in zip(asked, answers, strict=True):
                    if not waiting.done():
                        waiting.set_result(answer)
        finally:
            self._trips = None


def _fail(asked: Sequence[tuple[Q, "asyncio.Future[A]"]], error: Exception) -> None:
    for _, waiting in asked:
        if not waiting.done():
            waiting.set_exception(error)
