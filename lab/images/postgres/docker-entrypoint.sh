#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Makes a cluster where there is none, then becomes the server. A first start
# that was cut short leaves no half cluster: it is made in a folder beside the
# data and moved in when it is whole.
set -euo pipefail

say() { printf 'entrypoint: %s\n' "$*" >&2; }

secret() {
    local name=$1 file_name=$1_FILE
    if [[ -n ${!name:-} && -n ${!file_name:-} ]]; then
        say "set one of $name and $file_name, not both"
        exit 1
    fi
    if [[ -n ${!file_name:-} ]]; then
        printf '%s' "$(<"${!file_name}")"
    else
        printf '%s' "${!name:-}"
    fi
}

first_start() {
    local user=${POSTGRES_USER:-postgres} password draft=$PGDATA/.draft script
    local database=${POSTGRES_DB:-$user}
    password=$(secret POSTGRES_PASSWORD)
    if [[ -z $password ]]; then
        say "no password: set POSTGRES_PASSWORD or POSTGRES_PASSWORD_FILE"
        exit 1
    fi
    rm -rf "$draft"
    chmod 0700 "$PGDATA"
    initdb --pgdata "$draft" --username "$user" --pwfile <(printf '%s\n' "$password") \
        --auth-local trust --auth-host scram-sha-256 --encoding UTF8 --locale C.UTF-8 \
        --data-checksums >/dev/null
    printf 'host all all all scram-sha-256\n' >>"$draft/pg_hba.conf"

    # Nobody but the scripts may speak to it until they are through.
    pg_ctl --pgdata "$draft" --wait --silent --log "$draft/first-start.log" start \
        -o "-c listen_addresses='' -c unix_socket_directories=/tmp"
    export PGHOST=/tmp PGUSER=$user
    if [[ $database != postgres ]]; then
        createdb --maintenance-db postgres "$database"
    fi
    export PGDATABASE=$database
    for script in /docker-entrypoint-initdb.d/*; do
        case $script in
            *.sh) say "running $script"; bash "$script" ;;
            *.sql) say "running $script"; psql --no-psqlrc --quiet -v ON_ERROR_STOP=1 -f "$script" ;;
            *.sql.gz) say "running $script"; gunzip -c "$script" | psql --no-psqlrc --quiet -v ON_ERROR_STOP=1 ;;
        esac
    done
    unset PGHOST PGUSER PGDATABASE
    pg_ctl --pgdata "$draft" --wait --silent --mode fast stop
    rm -f "$draft/first-start.log"

    # PG_VERSION goes last: it alone says that the cluster is whole.
    find "$draft" -mindepth 1 -maxdepth 1 ! -name PG_VERSION -exec mv -t "$PGDATA" {} +
    mv "$draft/PG_VERSION" "$PGDATA/PG_VERSION"
    rmdir "$draft"
    sync
}

if [[ ${1:-} == -* ]]; then
    set -- postgres "$@"
fi
if [[ ${1:-} == postgres ]]; then
    if [[ ! -s $PGDATA/PG_VERSION ]]; then
        if [[ -n $(find "$PGDATA" -mindepth 1 -maxdepth 1 ! -name .draft ! -name lost+found -print -quit) &&
            ! -d $PGDATA/.draft ]]; then
            say "$PGDATA holds files but no cluster: empty it or set PGDATA to a folder below it"
            exit 1
        fi
        find "$PGDATA" -mindepth 1 -maxdepth 1 ! -name .draft ! -name lost+found -exec rm -rf {} +
        first_start
    fi
    shift
    # Containers have an address of their own: listen on it.
    set -- postgres -c listen_addresses='*' "$@"
fi
unset POSTGRES_PASSWORD
exec "$@"
