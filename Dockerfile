# One image for API, worker and migrations: `python -m service api | worker | migrate`.
# Debian, not Alpine: granian and the rule engine have no wheels for musl.
FROM python:3.12-slim-bookworm AS build
RUN python -m venv /venv
COPY requirements.txt /build/
RUN /venv/bin/pip install --no-cache-dir --disable-pip-version-check \
        --no-deps --require-hashes -r /build/requirements.txt \
    && /venv/bin/pip uninstall --yes --quiet pip
# It counts templates of other syntax inside wheels as faults, which is no reason to stop.
RUN /venv/bin/python -m compileall -qq -j 0 /venv/lib || true

FROM python:3.12-slim-bookworm
RUN useradd --uid 10001 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin saxaul
WORKDIR /app
COPY --from=build /venv /venv
COPY LICENSE ./
COPY migrations ./migrations
COPY rules ./rules
COPY service ./service
COPY kit ./kit
RUN /venv/bin/python -m compileall -q service kit migrations
ENV PATH=/venv/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    SAXAUL_ENV=production \
    SAXAUL_HOST=0.0.0.0 \
    SAXAUL_HOME=/tmp/saxaul
USER 10001
EXPOSE 8000
ENTRYPOINT ["python", "-m", "service"]
CMD ["api"]
