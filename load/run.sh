#!/usr/bin/env bash
# Loads an authd of its own, on a SQLite database that goes away: with the driver
# over HTTP, gRPC, NATS and, where a RabbitMQ answers, AMQP, then with k6, if it is
# there. `make load` runs it.
#
#   USERS=1000 RATE=300 LOGIN_RATE=100 SECONDS_EACH=4
#   CHASSI_TEST_AMQP   amqp://guest:guest@127.0.0.1:5672/
#
# On the broker it uses the names loadtest.*, so one run at a time: the queue is
# deleted where the Debian package amqp-tools is installed, the exchange stays.
set -euo pipefail
# shellcheck source=load/lib.sh
source "$(dirname "$0")/lib.sh"

users=${USERS:-1000} rate=${RATE:-300} login_rate=${LOGIN_RATE:-100} seconds_each=${SECONDS_EACH:-4}
amqp=${CHASSI_TEST_AMQP:-amqp://guest:guest@127.0.0.1:5672/}

# reachable URL: whether something listens at its host and port.
reachable() {
  local rest=${1#*://}
  rest=${rest%%[/?]*}
  rest=${rest##*@}
  [[ $rest == *:* ]] || rest+=:5672
  timeout 2 bash -c ": <'/dev/tcp/${rest%:*}/${rest##*:}'" 2>/dev/null
}

# drive TRANSPORT TARGET SCENARIO FLAGS...
drive() {
  "$work/load" --transport "$1" --target "$2" --scenario "$3" --rate "$rate" --users "$users" --duration "${seconds_each}s" --warmup 1s "${@:4}"
  echo
}

# find_k6 prints where k6 is.
find_k6() { command -v k6 || { [[ -x $root/bin/tools/k6 ]] && echo "$root/bin/tools/k6"; }; }

programs
"$work/seed" --database "sqlite:$work/authd.db" --users "$users"
flags=("--database.url=sqlite:$work/authd.db")
targets=()
if reachable "$amqp"; then
  prefix=loadtest
  at_end+=("! command -v amqp-delete-queue >/dev/null || amqp-delete-queue --url='${amqp%/}' -q $prefix.auth.v1.Auth.requests >/dev/null")
  flags+=("--amqp.url=$amqp" "--amqp.prefix=$prefix" --amqp.max_concurrent=256 --amqp.max_concurrent_per_client=256) # the driver is one client
else
  echo "no RabbitMQ at CHASSI_TEST_AMQP: AMQP left out (make services brings one up)"
fi
start authd "${flags[@]}"
targets=("http http://$(address authd http)" "grpc $(address authd grpc)" "nats nats://$(address authd 'nats embedded')")
for pair in "${targets[@]}"; do
  drive "${pair% *}" "${pair#* }" mixed --nats-key "$work/nats-clients/default.nk"
done
[[ -z ${prefix:-} ]] || drive amqp "$amqp" mixed --amqp-prefix "$prefix"
drive http "http://$(address authd http)" validate --steps "$rate,$((2 * rate)),$((4 * rate))"
drive http "http://$(address authd http)" flood --login-rate "$login_rate"

if k6=$(find_k6); then
  "$k6" run --quiet --no-usage-report -e "BASE_URL=http://$(address authd http)" -e "DURATION=$((2 * seconds_each))s" "$root/load/k6/auth.js"
else
  echo "k6 is neither on the PATH nor in bin/tools: left out (scripts/tools.sh k6 builds it)"
fi
