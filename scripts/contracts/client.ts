// Calls both versions of examples/versions with the types that were generated from its
// OpenAPI document: node client.js URL
import createClient from 'openapi-fetch';
import type { components, paths } from './versions/openapi.js';

declare const process: { argv: string[]; exit(code: number): never };

const client = createClient<paths>({ baseUrl: process.argv[2] });
const params = { path: { id: '7' } };
const v1 = await client.GET('/v1/orders/{id}', { params });
const v2 = await client.GET('/v2/orders/{id}', { params });
const first: components['schemas']['V1Order'] | undefined = v1.data;
const second: components['schemas']['V2Order'] | undefined = v2.data;
const got = [first?.item, first?.price, second?.lines[0]?.item, second?.total.amount].join(' ');
console.log('TypeScript:', got);
if (got !== 'tea 350 tea 350' || typeof second?.total.amount !== 'string') process.exit(1);
