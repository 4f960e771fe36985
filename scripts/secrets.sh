#!/usr/bin/env bash
# Generates the passwords of deploy/compose.yaml in deploy/secrets, unless they exist. The
# repository contains no password, and each machine has different ones.
set -euo pipefail
cd "$(dirname "$0")/../deploy"

# Other users of this machine cannot access the directory. Its files are readable by all,
# because each container reads its own as another user.
mkdir -p -m 700 secrets

random() { head -c 24 /dev/urandom | base64 | tr '+/' '-_'; }

# keep NAME VALUE
keep() {
  [[ -s secrets/$1 ]] && return
  printf '%s' "$2" >"secrets/$1"
  chmod 644 "secrets/$1"
  echo "made deploy/secrets/$1"
}

keep postgres_password "$(random)"
keep database_url "postgres://authd:$(<secrets/postgres_password)@postgres:5432/authd?sslmode=disable"
keep grafana_password "$(random)"
redis_password=$(random)
keep redis_conf "requirepass $redis_password
save \"\"
appendonly no
maxmemory 200mb
maxmemory-policy volatile-ttl"
keep redis_url "redis://:$(sed -n 's/^requirepass //p' secrets/redis_conf)@redis:6379"

# nats.conf with a password for each of its variables: two users of authd, and two clients.
for user in requests responses gateway reports; do keep "nats_${user}_password" "$(random)"; done
keep nats_conf "$(sed -e "s|\$REQUESTS_PASSWORD|\"$(<secrets/nats_requests_password)\"|" \
  -e "s|\$RESPONSES_PASSWORD|\"$(<secrets/nats_responses_password)\"|" \
  -e "s|\$GATEWAY_PASSWORD|\"$(<secrets/nats_gateway_password)\"|" \
  -e "s|\$REPORTS_PASSWORD|\"$(<secrets/nats_reports_password)\"|" nats.conf)"
keep nats_url "nats://authd-requests:$(<secrets/nats_requests_password)@nats:4222"
keep nats_responses_url "nats://authd-responses:$(<secrets/nats_responses_password)@nats:4222"
# authd declares and reads its queue as one user and sends responses as another. Clients have
# no permissions for the names of either; docs/brokers.md describes how to add clients.
keep rabbitmq_password "$(random)"
keep rabbitmq_responses_password "$(random)"
names='^auth\\.v1\\.Auth(\\.requests)?$'
keep rabbitmq_definitions '{
  "vhosts": [{"name": "/"}],
  "users": [
    {"name": "authd", "password": "'"$(<secrets/rabbitmq_password)"'", "tags": []},
    {"name": "authd-responses", "password": "'"$(<secrets/rabbitmq_responses_password)"'", "tags": []}
  ],
  "permissions": [
    {"user": "authd", "vhost": "/", "configure": "'"$names"'", "write": "'"$names"'", "read": "'"$names"'"},
    {"user": "authd-responses", "vhost": "/", "configure": "^$", "write": "^amq\\.default$", "read": "^$"}
  ]
}'
keep rabbitmq_conf "load_definitions = /run/secrets/rabbitmq_definitions
max_message_size = 2097152"
keep amqp_url "amqp://authd:$(<secrets/rabbitmq_password)@rabbitmq:5672/"
keep amqp_responses_url "amqp://authd-responses:$(<secrets/rabbitmq_responses_password)@rabbitmq:5672/"
