# The platform in one image: assets, Dagster's web server and daemon.
FROM python:3.12-slim

# LightGBM's only need beside Python.
RUN apt-get update && apt-get install --yes --no-install-recommends libgomp1 && rm -rf /var/lib/apt/lists/*

WORKDIR /app
# Dependencies in a layer of their own: they change less often than the sources. The lock file is complete, so pip
# need not look for more.
COPY locks/platform.lock locks/
RUN --mount=type=cache,target=/var/cache/pip \
    pip install --cache-dir /var/cache/pip --no-deps --require-hashes --requirement locks/platform.lock
COPY . .
RUN pip install --no-deps --no-cache-dir .

RUN useradd --create-home platform && install --directory --owner=platform /data /dagster \
    && install --owner=platform dagster.yaml /dagster/
USER platform
ENV MOVIE_PLATFORM_STORAGE=/data DAGSTER_HOME=/dagster PYTHONUNBUFFERED=1
EXPOSE 3000
CMD ["dagster", "dev", "--workspace", "workspace.yaml", "--host", "0.0.0.0", "--port", "3000"]
