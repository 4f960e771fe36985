// Parses AsyncAPI documents: node asyncapi.mjs FILE...
import { Parser } from '@asyncapi/parser';
import { readFileSync } from 'node:fs';

let failed = false;
for (const file of process.argv.slice(2)) {
  const { document, diagnostics } = await new Parser().parse(readFileSync(file, 'utf8'));
  for (const d of diagnostics.filter((d) => d.severity < 2)) console.log(file, ['error', 'warning', 'info', 'hint'][d.severity], d.code, d.message, d.path.join('.'));
  failed ||= !document || diagnostics.some((d) => d.severity === 0);
}
process.exit(failed ? 1 : 0);
