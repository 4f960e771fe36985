// The way of a user over HTTP: login, validate-token, me. Users arrive at a fixed
// rate whether the service keeps up or not (an open model).
//
//   k6 run -e BASE_URL=http://127.0.0.1:8080 load/k6/auth.js
//
//   BASE_URL          http://127.0.0.1:8080
//   RATE, DURATION    10 users a second, for 15s
//   AUTH_USER, AUTH_PASSWORD  an account that is there; by default the script signs one up
//   LOGIN_P95, LOGIN_P99, CALL_P95, CALL_P99  bounds in ms: 500, 1000, 100, 250
import http from 'k6/http';
import { check, fail } from 'k6';

const base = (__ENV.BASE_URL || 'http://127.0.0.1:8080').replace(/\/$/, '');
const rate = Number(__ENV.RATE || 10);
const steps = ['login', 'validate', 'me'];

function bounds(step) {
  const kind = step === 'login' ? 'LOGIN' : 'CALL';
  const p95 = Number(__ENV[`${kind}_P95`] || (step === 'login' ? 500 : 100));
  const p99 = Number(__ENV[`${kind}_P99`] || (step === 'login' ? 1000 : 250));
  return [`p(95)<${p95}`, `p(99)<${p99}`];
}

export const options = {
  scenarios: {
    users: {
      executor: 'constant-arrival-rate',
      rate,
      timeUnit: '1s',
      duration: __ENV.DURATION || '15s',
      preAllocatedVUs: Math.max(10, 2 * rate),
      maxVUs: Math.max(50, 20 * rate),
    },
  },
  thresholds: {
    http_req_failed: ['rate<0.01'],
    checks: ['rate>0.99'],
    dropped_iterations: ['count==0'],
    ...Object.fromEntries(steps.map((step) => [`http_req_duration{step:${step}}`, bounds(step)])),
  },
  summaryTrendStats: ['avg', 'min', 'med', 'p(90)', 'p(95)', 'p(99)', 'max'],
};

function post(path, body, step) {
  return http.post(`${base}${path}`, JSON.stringify(body), {
    headers: { 'Content-Type': 'application/json' },
    tags: { step },
  });
}

// setup returns the account that all users share.
export function setup() {
  if (__ENV.AUTH_USER) {
    return { email: __ENV.AUTH_USER, password: __ENV.AUTH_PASSWORD };
  }
  const user = { email: `k6-${Date.now()}@example.com`, password: __ENV.AUTH_PASSWORD || 'much ado under load' };
  const answer = post('/v1/users', user, 'setup');
  if (answer.status !== 202) {
    fail(`sign-up at ${base} got ${answer.status}: start authd there with sign_up=true, or give AUTH_USER and AUTH_PASSWORD`);
  }
  return user;
}

export default function (user) {
  const login = post('/v1/auth', user, 'login');
  if (!check(login, { 'login gives a token': (r) => r.status === 200 && r.json('token') !== '' })) {
    return;
  }
  const token = login.json('token');
  const validated = post('/v1/validate-token', { token }, 'validate');
  check(validated, { 'validate gives the address': (r) => r.status === 200 && r.json('email') === user.email });
  const me = http.get(`${base}/v1/me`, { headers: { Authorization: `Bearer ${token}` }, tags: { step: 'me' } });
  check(me, { 'me gives the account': (r) => r.status === 200 && r.json('email') === user.email });
}
