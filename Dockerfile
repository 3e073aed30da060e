# `docker compose up` builds and runs it: docs/deployment.md.
# A virtual environment cannot be moved: it is made at the path, and with the Python, that it will run with.
FROM python:3.11-slim-bookworm AS build
# gunicorn_h1c is compiled.
RUN apt-get update && apt-get install --yes --no-install-recommends gcc libc6-dev
WORKDIR /src
ENV PIP_CONSTRAINT=/src/constraints.txt PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
COPY . .
RUN python3 -m venv --without-pip /opt/nnserve \
    && pip --python /opt/nnserve install '.[fast,postgres]'

FROM python:3.11-slim-bookworm
# A new volume takes over the owner of the folder that it is mounted on.
RUN useradd --uid 10001 --user-group --no-create-home --shell /usr/sbin/nologin nnserve \
    && install --directory --owner=nnserve --group=nnserve /data
COPY --from=build /opt/nnserve /opt/nnserve
ENV PATH=/opt/nnserve/bin:$PATH \
    NNSERVE_HOST=0.0.0.0 \
    NNSERVE_MODEL_STORE=/data/models \
    NNSERVE_DATABASE_URL=sqlite:////data/nnserve.db
USER 10001:10001
WORKDIR /data
EXPOSE 8000
HEALTHCHECK CMD ["nnserve", "health", "web"]
CMD ["nnserve", "web"]
