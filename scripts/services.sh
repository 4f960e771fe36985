#!/usr/bin/env bash
# Starts the servers of the integration tests.
#
#   scripts/services.sh [postgres|redis|rabbitmq|nats|all ...]
#
# Without arguments it starts all servers that the tests use. For each server it uses the
# first of:
#   1. a server that already listens at the configured address;
#   2. a container of deploy/test-services.yaml, if a Docker engine runs;
#   3. the package of the distribution, as root on Debian or a derivative of it.
# Otherwise it prints what to install and exits with 1. Running it again is harmless. The
# addresses are those of the tests:
#   CHASSI_TEST_POSTGRES, CHASSI_TEST_REDIS, CHASSI_TEST_AMQP, CHASSI_TEST_NATS
set -euo pipefail

readonly -a used_today=(postgres redis rabbitmq nats)
readonly -a every=(postgres redis rabbitmq nats)
readonly patience=60 # seconds a server may take to answer
root=$(cd "$(dirname "$0")/.." && pwd)
readonly root

url_of() {
  case $1 in
    postgres) echo "${CHASSI_TEST_POSTGRES:-postgres://postgres@127.0.0.1:5432/postgres?sslmode=disable}" ;;
    redis) echo "${CHASSI_TEST_REDIS:-redis://127.0.0.1:6379}" ;;
    rabbitmq) echo "${CHASSI_TEST_AMQP:-amqp://guest:guest@127.0.0.1:5672/}" ;;
    nats) echo "${CHASSI_TEST_NATS:-nats://127.0.0.1:4222}" ;;
    *) return 1 ;;
  esac
}

default_port() {
  case $1 in
    postgres) echo 5432 ;;
    redis) echo 6379 ;;
    rabbitmq) echo 5672 ;;
    nats) echo 4222 ;;
  esac
}

# locate sets host and port from a service's URL.
locate() {
  local rest
  rest=$(url_of "$1")
  rest=${rest#*://}
  rest=${rest%%[/?]*}
  rest=${rest##*@}
  host=${rest%:*}
  port=${rest##*:}
  [[ $rest == *:* ]] || port=$(default_port "$1")
}

listens() { timeout 2 bash -c ": <'/dev/tcp/$host/$port'" 2>/dev/null; }

# answers succeeds if a service is ready for the tests: PostgreSQL listens before it accepts
# a login, the others are ready when they listen.
answers() {
  listens || return 1
  [[ $1 == postgres ]] && command -v psql >/dev/null || return 0
  PGCONNECT_TIMEOUT=3 psql "$(url_of postgres)" -XAtqc 'select 1' >/dev/null 2>&1
}

# wait_for SERVICE SECONDS
wait_for() {
  local deadline=$((SECONDS + $2))
  until answers "$1"; do
    ((SECONDS < deadline)) || return 1
    sleep 0.2
  done
}

say() { printf '%-9s %s:%s  %s\n' "$1" "$host" "$port" "$2"; }

have_docker() {
  command -v docker >/dev/null &&
    timeout 10 docker info >/dev/null 2>&1 &&
    docker compose version >/dev/null 2>&1
}

is_debian_root() { [[ $(id -u) == 0 && -e /etc/debian_version ]] && command -v apt-get >/dev/null; }

by_docker() {
  env "CHASSI_TEST_PORT_${1^^}=$port" docker compose -f "$root/deploy/test-services.yaml" \
    up --detach --wait --wait-timeout 180 "$1" >&2
}

# installed PROGRAM PACKAGE installs the package unless its program is there.
installed() {
  command -v "$1" >/dev/null && return
  if [[ -z ${apt_updated:-} ]]; then
    apt-get -qq -o DPkg::Lock::Timeout=120 update >&2
    apt_updated=1
  fi
  DEBIAN_FRONTEND=noninteractive apt-get -qq -y -o DPkg::Lock::Timeout=120 \
    install --no-install-recommends "$2" >&2
}

# PostgreSQL uses a cluster of its own that accepts local logins. An existing cluster of the
# machine is never changed.
debian_postgres() {
  local version
  conf=/etc/postgresql-common/createcluster.d/chassi-test.conf
  mkdir -p "${conf%/*}"
  echo 'create_main_cluster = false' >"$conf"
  trap 'rm -f "$conf"' EXIT
  installed pg_ctlcluster postgresql
  version=$(find /usr/lib/postgresql -mindepth 1 -maxdepth 1 -printf '%f\n' | sort -V | tail -n 1)
  [[ -d /etc/postgresql/$version/chassi ]] ||
    pg_createcluster --port "$port" "$version" chassi -- \
      --auth-local=trust --auth-host=trust --encoding=UTF8 >&2
  pg_conftool "$version" chassi set port "$port"
  pg_conftool "$version" chassi set fsync off # nothing here outlives a test
  pg_conftool "$version" chassi set max_connections 200
  pg_ctlcluster --skip-systemctl-redirect "$version" chassi start >&2
}

debian_redis() {
  installed redis-server redis-server
  listens || redis-server --daemonize yes --bind "$host" --port "$port" \
    --save '' --appendonly no --dir "$(mktemp -d)" >&2
}

# RabbitMQ uses a configuration of its own, too, because the listeners in /etc override the
# environment.
debian_rabbitmq() {
  installed rabbitmqctl rabbitmq-server
  listens && return
  dir=$(mktemp -d)
  printf 'listeners.tcp.tests = %s:%s\n' "${host/localhost/127.0.0.1}" "$port" >"$dir/rabbitmq.conf"
  chmod -R a+rX "$dir"
  RABBITMQ_NODENAME=chassi@localhost RABBITMQ_DIST_PORT=$((port + 20000)) \
    RABBITMQ_CONFIG_FILE=$dir/rabbitmq.conf rabbitmq-server -detached >&2
}

debian_nats() {
  installed nats-server nats-server
  listens || setsid nats-server --addr "$host" --port "$port" --jetstream \
    --store_dir "$(mktemp -d)" </dev/null >/dev/null 2>&1 &
}

explain() {
  locate "$1"
  say "$1" "MISSING"
  cat >&2 <<EOF
  Nothing usable answers at $host:$port, and it could not be started from here. Either
    - install docker with its compose plugin and run 'make services' again, or
    - install $1 and let it listen there, or
    - name a server that runs elsewhere: see the variables at the top of scripts/services.sh.
EOF
  return 1
}

provide() {
  locate "$1"
  if listens; then
    if wait_for "$1" 10; then say "$1" "already there"; return; fi
    echo "$1 listens at $host:$port but refuses the tests' login" >&2
    explain "$1"
    return
  fi
  case $host in
    127.0.0.1 | localhost) ;;
    *) explain "$1"; return ;; # another machine's server is not ours to start
  esac
  if have_docker && by_docker "$1" && wait_for "$1" "$patience"; then
    say "$1" "started by docker compose"
  # A process of its own: errexit is off in a function called by a condition.
  elif is_debian_root && "$0" --from-package "$1" && wait_for "$1" "$patience"; then
    say "$1" "started from the distribution's package"
  else
    explain "$1"
  fi
}

main() {
  local service failed=0
  local -a wanted=("$@")
  if [[ ${1:-} == --from-package ]]; then
    locate "$2"
    "debian_$2"
    return
  fi
  [[ ${wanted[*]} != all ]] || wanted=("${every[@]}")
  ((${#wanted[@]})) || wanted=("${used_today[@]}")
  for service in "${wanted[@]}"; do
    url_of "$service" >/dev/null || { echo "unknown service '$service'; there are: ${every[*]}" >&2; exit 2; }
  done
  for service in "${wanted[@]}"; do
    provide "$service" || failed=1
  done
  return $failed
}

main "$@"
