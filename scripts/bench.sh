#!/usr/bin/env bash
# Measures the figures of docs/performance.md, prints them, and writes them between the
# marks in that file. Takes three to four minutes on an idle machine.
#
#   ROUNDS=6       rounds over loopback, interleaved
#   SECONDS_EACH=2 seconds for each of them
set -euo pipefail
cd "$(dirname "$0")/.."

rounds=${ROUNDS:-6}
seconds_each=${SECONDS_EACH:-2}
work=$(mktemp -d)
pid=""
stop() { [[ -z $pid ]] || { kill "$pid" && wait "$pid" || true; pid=""; } 2>/dev/null; }
trap 'stop; rm -rf "$work"' EXIT

# table TITLE prints the rows in $work/rows as a Markdown table.
table() {
  printf '\n| %s | | |\n| --- | --- | --- |\n' "$1"
  cat "$work/rows"
  rm "$work/rows"
}
row() { printf '| %s | %s | %s |\n' "$@" >>"$work/rows"; }

# best OUTPUT NAME COLUMN prints the minimum of a benchmark over its repetitions.
best() { awk -v name="^Benchmark$2(-|$)" -v column="$3" '$1 ~ name && (min == "" || $column < min) { min = $column } END { print min }' "$1"; }

median() { sort -n | awk '{v[NR] = $1} END {print v[int((NR + 1) / 2)]}'; }

in_process() {
  for _ in 1 2 3; do
    go test -run XXX -bench . -benchmem -benchtime 0.7s ./bench/server
  done >"$work/bench"
  local base name
  base=$(best "$work/bench" Handwritten 3)
  for name in Handwritten ChassiBare ChassiFull; do
    row "$name" "$(best "$work/bench" $name 3 | awk -v base="$base" '{printf "%.2f µs, %+.2f", $1 / 1000, ($1 - base) / 1000}')" \
      "$(best "$work/bench" $name 7) allocations"
  done
  table "in process: \`go test -bench . ./bench/server\`"
}

passwords() {
  for _ in 1 2 3 4 5 6; do
    go test -run XXX -bench 'Login|HashAlone|ValidateToken' -benchtime 1.5s ./auth/service
  done >"$work/bench"
  row "validate a token seen before" "$(best "$work/bench" ValidateToken 3 | awk '{printf "%.0f ns, %.1f million/s per core", $1, 1000 / $1}')" "$(awk '/ValidateToken/ {print $7 " allocations"; exit}' "$work/bench")"
  row "hash alone, processor time" "$(awk '/HashAlone/ {print $5}' "$work/bench" | median | awk '{printf "%.1f ms", $1 / 1e6}')" "as many at a time as there are cores"
  row "login, processor time" "$(awk '/Login/ {print $5}' "$work/bench" | median | awk '{printf "%.1f ms", $1 / 1e6}')" \
    "$(awk '/Login/ {login = $5} /HashAlone/ {print $5 / login}' "$work/bench" | median | awk '{printf "a core does %.0f %% of the logins that the hash alone allows", 100 * $1}')"
  table "\`go test -bench 'Login|HashAlone|ValidateToken' ./auth/service\`"
}

# await URL waits until the URL responds.
await() {
  for _ in $(seq 2000); do
    curl -so /dev/null "$1" && return
    sleep 0.002
  done
  echo "nothing answers at $1" >&2
  return 1
}

service() {
  local began
  make --silent build
  export AUTHD_HTTP_ADDR=127.0.0.1:18080 AUTHD_ADMIN_ADDR=127.0.0.1:18081 AUTHD_DATABASE_URL="sqlite:$work/authd.db" AUTHD_SHUTDOWN_DRAIN=0s
  for time in first second third fourth; do
    began=$(date +%s%N)
    bin/authd serve >"$work/out" 2>&1 &
    pid=$!
    await http://127.0.0.1:18081/readyz
    echo $((($(date +%s%N) - began) / 1000000)) >>"$work/starts"
    [[ $time == fourth ]] || stop
  done
  row "from start to ready, existing database" "$(tail -n +2 "$work/starts" | sort -n | head -n 1) ms" "of three"
  row "resident when idle" "$(awk '/VmRSS/ {printf "%.0f MB", $2 * 1024 / 1e6}' /proc/$pid/status)" ""
  row "binary" "$(wc -c <bin/authd | awk '{printf "%.0f MB", $1 / 1e6}')" ""
  stop
  table "authd"
}

# jwt prints an HS256 token with the benchmark's key.
key=0123456789abcdef0123456789abcdef
jwt() {
  local b64='openssl base64 -A' head body
  head=$(printf '{"alg":"HS256","typ":"JWT"}' | $b64 | tr '+/' '-_' | tr -d =)
  body=$(printf '{"email":"user@example.com","exp":4102444800}' | $b64 | tr '+/' '-_' | tr -d =)
  printf '%s.%s.%s' "$head" "$body" "$(printf '%s.%s' "$head" "$body" | openssl dgst -sha256 -hmac "$key" -binary | $b64 | tr '+/' '-_' | tr -d =)"
}

# variant NAME prints the environment of a variant: "gogc" is "full" with GOGC=100, which also
# switches the heap floor off, and "lines" is "full" with a system call for each log line.
variant() {
  case $1 in
    gogc) echo "FEATURES=full GOGC=100" ;;
    lines) echo "FEATURES=full LINES=single" ;;
    *) echo "FEATURES=$1" ;;
  esac
}

# ticks prints the processor time of the server, in clock ticks.
ticks() { awk '{print $14 + $15}' "/proc/$pid/stat"; }

# measure NAME measures requests per second, processor time per request in µs, and the peak
# memory in MB of one variant, for both jobs.
measure() {
  local job path before
  # shellcheck disable=SC2046 # words
  env $(variant "$1") ADDR=127.0.0.1:18080 KEY=$key LOG=$work/log OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:9 "$work/server" >"$work/out" 2>&1 &
  pid=$!
  await http://127.0.0.1:18080/ping
  for job in validate ping; do
    path=/ping
    [[ $job == ping ]] || path=/v1/validate-token
    wrk -t1 -c64 -d1s -s "$work/$job.lua" "http://127.0.0.1:18080$path" >/dev/null
    before=$(ticks)
    wrk -t1 -c64 "-d${seconds_each}s" -s "$work/$job.lua" "http://127.0.0.1:18080$path" >"$work/wrk"
    awk -v ticks=$(($(ticks) - before)) -v hertz="$(getconf CLK_TCK)" -v name="$job-$1" \
      '/requests in/ {print name, 1e6 * ticks / hertz / $1}' "$work/wrk" >>"$work/processor"
    ! grep -q Non-2xx "$work/wrk" || { echo "$1 answers errors" >&2; cat "$work/wrk" >&2; return 1; }
    echo "$job-$1 $(awk '/Requests\/sec/ {print $2}' "$work/wrk")" >>"$work/loopback"
    echo "$job-$1 $(awk '/VmHWM/ {print $2 * 1024 / 1e6}' "/proc/$pid/status")" >>"$work/peak"
  done
  stop
  rm -f "$work/log"
}

# of NAME FILE prints the figures of a variant in a file.
of() { awk -v name="$1" '$1 == name {print $2}' "$work/$2"; }

# ratio NAME FILE prints the median of the ratios to hand-written, of the same round.
ratio() { paste <(of "$1" "$2") <(of "${1%-*}-handwritten" "$2") | awk '{print $1 / $2}' | median; }

loopback() {
  local name job label
  if ! command -v wrk >/dev/null; then
    echo "wrk is not installed (Debian package wrk): loopback not measured" >&2
    return
  fi
  CGO_ENABLED=0 go build -trimpath -tags grpcnotrace -o "$work/server" ./bench/server
  echo >"$work/ping.lua"
  printf 'wrk.method = "POST"\nwrk.body = [[{"token":"%s"}]]\nwrk.headers["Content-Type"] = "application/json"\n' "$(jwt)" >"$work/validate.lua"
  for ((round = 0; round < rounds; round++)); do
    local order=(handwritten bare full gogc lines)
    ((round % 2 == 0)) || order=(lines gogc full bare handwritten)
    for name in "${order[@]}"; do measure "$name"; done
  done
  for job in validate ping; do
    for name in handwritten bare full gogc lines; do
      case $name in gogc) label="full with GOGC=100" ;; lines) label="full, each log line written" ;; *) label=$name ;; esac
      row "$job, $label" "$(of $job-$name loopback | median | awk '{printf "%.0f requests/s", $1}'), $(ratio $job-$name loopback | awk '{printf "%.0f %% of hand-written", 100 * $1}')" \
        "$(of $job-$name processor | median | awk '{printf "%.1f µs", $1}') of processor time, $(ratio $job-$name processor | awk '{printf "%.2f of hand-written", $1}'); peak $(of $job-$name peak | median | awk '{printf "%.0f MB", $1}')"
    done
  done
  table "over loopback: \`wrk -t1 -c64\`, POST /v1/validate-token and GET /ping, medians of $rounds rounds"
}

# transports: each server beside the bare library, in one run. The clients, and for
# the last two the broker, share the cores and are in the figures.
transports() {
  local package base names name
  for package in grpcapi natsapi amqpapi; do
    case $package in
      grpcapi) names="generated/1 chassi/1 everything/1 generated/32 chassi/32 everything/32" ;;
      natsapi) names="micro chassi everything" ;;
      amqpapi) names="amqp091 chassi everything" ;;
    esac
    for _ in 1 2 3; do
      go test -run XXX -bench Server -benchmem -benchtime 2s "./transport/$package"
    done >"$work/bench"
    for name in $names; do
      case $name in generated* | micro | amqp091) base=$(best "$work/bench" "Server/$name" 3) ;; esac
      row "$package, $name" "$(best "$work/bench" "Server/$name" 3 | awk -v base="$base" '{printf "%.1f µs a call, %.0f %% of the bare library'"'"'s calls", $1 / 1000, 100 * base / $1}')" \
        "$(best "$work/bench" "Server/$name" 7) allocations, the client's among them"
    done
  done
  table "\`go test -bench Server ./transport/...\`: the bare library, nothing around our calls, everything around them"
}

{ in_process; loopback; passwords; service; transports; } | tee "$work/measured"

awk -v measured="$work/measured" '
  /<!-- measured -->/   { print; while ((getline line < measured) > 0) print line; print ""; skip = 1 }
  /<!-- \/measured -->/ { skip = 0 }
  !skip                 { if (!/<!-- measured -->/) print }
' docs/performance.md >"$work/page"
cp "$work/page" docs/performance.md
