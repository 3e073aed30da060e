#!/bin/sh
# Has `docker compose` run PostgreSQL and both services use it: a password, the URL with it, and .env.
set -eu
cd "$(dirname "$0")/.."
# A second run stops here: the database knows the first password.
mkdir -m 700 deploy/secrets
# The containers' users must be able to read the files; the folder keeps everybody else on this machine out.
umask 022
LC_ALL=C tr -dc a-z0-9 < /dev/urandom | head -c 40 > deploy/secrets/postgres_password
echo "postgresql://nnserve:$(cat deploy/secrets/postgres_password)@postgres/nnserve" > deploy/secrets/database_url
cat >> .env <<SETTINGS
COMPOSE_PROFILES=postgres
DATABASE_URL_FILE=deploy/secrets/database_url
SETTINGS
