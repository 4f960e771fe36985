// Calls every method of authd, and examples/versions, over the Connect protocol, with the
// client that is generated from the .proto files: node connect.js AUTHD VERSIONS
import { Code, ConnectError, createClient, type Transport } from '@connectrpc/connect';
import { createConnectTransport } from '@connectrpc/connect-web';
import { timestampDate } from '@bufbuild/protobuf/wkt';
import { Auth } from './api/auth/v1/auth_pb.js';
import { Orders } from './versions/orders/v1/orders_pb.js';

declare const process: { argv: string[] };

function expect(what: string, got: unknown, want: unknown): void {
  if (got !== want) throw new Error(`${what}: ${String(got)}, want ${String(want)}`);
}

// failure returns the error of a call that must fail.
async function failure(call: Promise<unknown>): Promise<ConnectError> {
  const result = await call.then(() => undefined, (reason: unknown) => reason);
  if (!(result instanceof ConnectError)) throw new Error(`no error, but ${String(result)}`);
  return result;
}

// details returns the details of an error by type, as authd sends them for people.
function details(error: ConnectError): Record<string, any> {
  return Object.fromEntries(error.details.map((d) => ('type' in d ? [d.type, d.debug] : ['', d])));
}

async function callAuthd(transport: Transport, email: string): Promise<void> {
  const auth = createClient(Auth, transport);
  const password = 'an analytical engine';
  expect('signUp', (await auth.signUp({ email: email.toUpperCase(), password })).email, email);
  const { token } = await auth.authenticate({ email, password });
  const headers = { Authorization: `Bearer ${token}` };
  expect('validateToken', (await auth.validateToken({ token })).email, email);
  const me = await auth.me({}, { headers, timeoutMs: 60_000 });
  expect('me', me.email, email);
  expect('createdAt', Math.abs(Date.now() - timestampDate(me.createdAt!).getTime()) < 600_000, true);
  expect('jwks', (await auth.jWKS({})).keys[0]?.kty, 'OKP');
  const changed = await auth.changePassword({ oldPassword: password, newPassword: 'a difference engine' }, { headers });
  expect('changePassword', (await auth.validateToken({ token: changed.token })).email, email);

  const invalid = await failure(auth.signUp({}));
  expect('code', invalid.code, Code.InvalidArgument);
  expect('reason', details(invalid)['google.rpc.ErrorInfo'].reason, 'invalid_request');
  expect('domain', details(invalid)['google.rpc.ErrorInfo'].domain, 'auth.v1.Auth');
  expect('fields', details(invalid)['google.rpc.BadRequest'].fieldViolations.map((v: { field: string }) => v.field).join(), 'email,password');
  const ended = await failure(auth.me({}, { headers }));
  expect('an ended token', ended.code, Code.Unauthenticated);
  expect('its request id', typeof ended.metadata.get('X-Request-ID'), 'string');
}

async function callVersions(transport: Transport): Promise<void> {
  const order = await createClient(Orders, transport).getOrder({ id: '7' });
  expect('price', order.price, 350n);
  const invalid = await failure(createClient(Orders, transport).getOrder({}));
  expect('code', invalid.code, Code.InvalidArgument);
}

const [, , authd = '', versions = ''] = process.argv;
for (const useBinaryFormat of [false, true]) {
  const options = { useBinaryFormat };
  await callAuthd(createConnectTransport({ baseUrl: authd, ...options }), `ada-${useBinaryFormat}@example.org`);
  await callVersions(createConnectTransport({ baseUrl: versions, ...options }));
}
console.log('TypeScript, connect-es: every method');
