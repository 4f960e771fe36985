// Generates TypeScript types from OpenAPI documents: node types.mjs FOLDER FILE...
// That of .../NAME/openapi.json becomes FOLDER/NAME/openapi.ts.
import openapiTS, { astToString } from 'openapi-typescript';
import { mkdirSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { pathToFileURL } from 'node:url';

const [folder, ...files] = process.argv.slice(2);
for (const file of files) {
  const to = join(folder, basename(dirname(file)));
  mkdirSync(to, { recursive: true });
  writeFileSync(join(to, 'openapi.ts'), astToString(await openapiTS(pathToFileURL(file))));
}
