# Two images: `platform` (code location, web server, daemon, runs) and `serving` (the API, without Dagster).
FROM python:3.12-slim AS base
# LightGBM's only need beside Python. Debian keeps only the newest version: a pinned one would be gone one day.
# hadolint ignore=DL3008
RUN apt-get update && apt-get install --yes --no-install-recommends libgomp1 && rm -rf /var/lib/apt/lists/*
# /state and /tmp are all that is written; the root may be read-only. The folders' owners go over to new volumes.
RUN useradd --uid 1000 --no-create-home --home-dir /tmp app && install --directory --owner=app --group=app /state
WORKDIR /app
ENV PYTHONUNBUFFERED=1 MPLCONFIGDIR=/tmp/matplotlib
LABEL org.opencontainers.image.title="movie_platform" \
      org.opencontainers.image.description="Predicts how films will be rated before they are released" \
      org.opencontainers.image.licenses="Apache-2.0"

# The package, the same for both; what builds it stays here.
FROM base AS package
COPY pyproject.toml README.md LICENSE ./
COPY movie_platform movie_platform
COPY serving serving
RUN --mount=type=cache,target=/root/.cache/pip \
    pip wheel --no-deps --wheel-dir /wheels .

FROM base AS serving
# Dependencies in a layer of their own: they change less often than the sources. The lock file is complete, so pip
# need not look for more.
COPY locks/serving.lock locks/
RUN --mount=type=cache,target=/root/.cache/pip \
    pip install --no-deps --require-hashes --requirement locks/serving.lock
RUN --mount=type=bind,from=package,source=/wheels,target=/wheels \
    pip install --no-deps --no-cache-dir /wheels/*.whl
USER 1000
ENV SERVING_HOST=0.0.0.0 SERVING_PORT=8000 SERVING_CACHE=/state
EXPOSE 8000
HEALTHCHECK --interval=5s --timeout=5s --start-period=10s --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/health/live', timeout=4)"]
CMD ["python", "-m", "serving"]
# Last, since it is another one with each commit.
ARG REVISION=unknown
LABEL org.opencontainers.image.revision="${REVISION}"

FROM base AS platform
COPY locks/platform.lock locks/
RUN --mount=type=cache,target=/root/.cache/pip \
    pip install --no-deps --require-hashes --requirement locks/platform.lock
RUN --mount=type=bind,from=package,source=/wheels,target=/wheels \
    pip install --no-deps --no-cache-dir /wheels/*.whl
# Dagster reads its configuration from DAGSTER_HOME, which is a volume: the link there follows the image.
COPY dagster.yaml local.yaml
COPY deploy/dagster.yaml deployed.yaml
RUN cat local.yaml deployed.yaml > dagster.yaml && rm local.yaml deployed.yaml && ln -s /app/dagster.yaml /state/
COPY deploy/workspace.yaml deploy/health.py deploy/bucket.py ./
USER 1000
ENV DAGSTER_HOME=/state
EXPOSE 4000
HEALTHCHECK --interval=10s --timeout=10s --start-period=60s --retries=3 CMD ["python", "health.py", "code-location"]
CMD ["dagster", "api", "grpc", "--host", "0.0.0.0", "--port", "4000", "--module-name", "movie_platform.definitions"]
ARG REVISION=unknown
LABEL org.opencontainers.image.revision="${REVISION}"
