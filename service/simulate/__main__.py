"""A process of a simulation, as `crew` starts it."""

import asyncio
import sys

from service.simulate.worker import serve

if __name__ == "__main__":
    asyncio.run(serve(sys.stdin.buffer, sys.stdout.buffer))
