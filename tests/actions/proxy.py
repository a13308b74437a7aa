"""A TCP line in front of PostgreSQL that loses or holds answers on demand."""

import asyncio
from contextlib import closing, suppress
from urllib.parse import parse_qs, urlsplit

from tests.processes import PATIENCE_S


class LossyProxy:
    """Forwards bytes both ways; after `cut_answer_of(text)` the next statement with that text is
    still forwarded, but its answer is dropped and the line is cut, once. From `hold_answers_of` on
    each statement with that text is forwarded, and its answer never leaves us; `held` counts them.
    """

    def __init__(self, url):
        parts = urlsplit(url)
        self.folder = parse_qs(parts.query)["host"][0]
        self.user, self.database = parts.username, parts.path
        self.doomed = None
        self.kept = None
        self.cuts = 0
        self.held = 0
        self.came = asyncio.Condition()

    async def start(self):
        self.server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        port = self.server.sockets[0].getsockname()[1]
        self.url = f"postgresql://{self.user}@127.0.0.1:{port}{self.database}"

    async def stop(self):
        self.server.close()
        await self.server.wait_closed()

    def cut_answer_of(self, text):
        self.doomed = text

    def hold_answers_of(self, text):
        """Hold them from now on; None: hold no more."""
        self.kept, self.held = text, 0

    async def until_held(self, number):
        """Come back when PostgreSQL has answered so many of them."""
        async with self.came, asyncio.timeout(PATIENCE_S):
            await self.came.wait_for(lambda: self.held >= number)

    async def _serve(self, client_reader, client_writer):
        path = f"{self.folder}/.s.PGSQL.5432"
        server_reader, server_writer = await asyncio.open_unix_connection(path)
        line = {"doomed": False, "kept": False}
        ways = (
            self._upward(client_reader, server_writer, line),
            self._downward(server_reader, client_writer, line),
        )
        # Whoever is killed resets the line.
        with suppress(ConnectionError):
            await asyncio.gather(*ways)

    async def _upward(self, reader, writer, line):
        with closing(writer):
            while data := await reader.read(65_536):
                if self.doomed and self.doomed in data:
                    self.doomed, line["doomed"] = None, True
                if self.kept and self.kept in data:
                    line["kept"] = True
                writer.write(data)

    async def _downward(self, reader, writer, line):
        with closing(writer):
            while data := await reader.read(65_536):
                if line["doomed"]:
                    self.cuts += 1
                    break
                if line["kept"]:
                    async with self.came:
                        self.held += 1
                        self.came.notify_all()
                else:
                    writer.write(data)
