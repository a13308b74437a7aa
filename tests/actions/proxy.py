"""A TCP line in front of PostgreSQL that loses an answer on demand."""

import asyncio
from urllib.parse import parse_qs, urlsplit


class LossyProxy:
    """Forwards bytes both ways; after `cut_answer_of(text)` the next statement with that text is
    still forwarded, but its answer is dropped and the line is cut, once.
    """

    def __init__(self, url):
        parts = urlsplit(url)
        self.folder = parse_qs(parts.query)["host"][0]
        self.user, self.database = parts.username, parts.path
        self.doomed = None
        self.cuts = 0

    async def start(self):
        self.server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        port = self.server.sockets[0].getsockname()[1]
        self.url = f"postgresql://{self.user}@127.0.0.1:{port}{self.database}?sslmode=disable"

    async def stop(self):
        self.server.close()
        await self.server.wait_closed()

    def cut_answer_of(self, text):
        self.doomed = text

    async def _serve(self, client_reader, client_writer):
        path = f"{self.folder}/.s.PGSQL.5432"
        server_reader, server_writer = await asyncio.open_unix_connection(path)
        line = {"doomed": False}
        await asyncio.gather(
            self._upward(client_reader, server_writer, line),
            self._downward(server_reader, client_writer, line),
        )

    async def _upward(self, reader, writer, line):
        while data := await reader.read(65_536):
            if self.doomed and self.doomed in data:
                self.doomed, line["doomed"] = None, True
            writer.write(data)
        writer.close()

    async def _downward(self, reader, writer, line):
        while data := await reader.read(65_536):
            if line["doomed"]:
                self.cuts += 1
                break
            writer.write(data)
        writer.close()
