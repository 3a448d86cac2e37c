# Built in one image, run in another that has no compiler, no pip cache and no root.
FROM python:3.12-slim AS build
WORKDIR /srv
RUN python -m venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
COPY requirements.txt ./
RUN pip install --require-hashes -r requirements.txt
COPY pyproject.toml README.md alembic.ini ./
COPY app app
COPY migrations migrations
COPY frontend frontend
RUN pip install --no-deps --no-build-isolation -e .

FROM python:3.12-slim
# A user with a name: the embedded Postgres, used where DATABASE_URL is unset, asks the system who it runs as.
RUN useradd --uid 10001 --create-home shop && install --directory --owner shop --mode 0700 /data
COPY --from=build /opt/venv /opt/venv
COPY --from=build /srv /srv
WORKDIR /srv
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    DATA_DIR=/data \
    HOST=0.0.0.0 \
    PORT=8080 \
    JSON_LOGS=true
USER shop
EXPOSE 8080
HEALTHCHECK --interval=15s --timeout=5s --start-period=60s \
    CMD ["python", "-c", "import os, urllib.request as r; r.urlopen(f'http://127.0.0.1:{os.environ[\"PORT\"]}/health/ready', timeout=4)"]
# Told to stop, it lets requests end first.
STOPSIGNAL SIGTERM
CMD ["python", "-m", "app", "serve"]
