// Writes the licenses of every package below a node_modules folder: each license text once,
// with the copyright lines and the names of the packages that are under it.
//
//   node licenses.mjs FOLDER
//
// It fails on a package that has no license file and is not in the table below.
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

// Packages whose archives have no license file: each is under the MIT license.
const holders = {
  "@headlessui/vue": "Copyright (c) 2020 Tailwind Labs",
  "@replit/codemirror-css-color-picker": "Copyright (c) Replit, Faris Masad",
};
const scalar = "Copyright (c) 2023-present Scalar";

const licenseFile = /^(licen[cs]es?|notice|copying)([-._ ].*)?$/i;
const copyrightLine = /^\s*(copyright|\(c\)|©).*$/i;

function* packages(folder) {
  for (const name of readdirSync(folder)) {
    const path = join(folder, name);
    if (existsSync(join(path, "package.json"))) {
      yield path;
      if (existsSync(join(path, "node_modules"))) yield* packages(join(path, "node_modules"));
    } else if (name.startsWith("@")) {
      yield* packages(path);
    }
  }
}

function texts(path, about) {
  const files = readdirSync(path).filter((name) => licenseFile.test(name));
  if (files.length) return files.map((name) => readFileSync(join(path, name), "utf8"));
  const holder = holders[about.name] ?? (about.name.startsWith("@scalar/") ? scalar : undefined);
  if (about.license !== "MIT" || !holder) throw new Error(`${about.name}: no license file`);
  return [mit.replace(/^.*copyright \(c\).*$/im, holder)];
}

const [folder] = process.argv.slice(2);
const mit = readFileSync(join(folder, "@scalar/themes/LICENSE"), "utf8");
const found = new Map(); // the words of a text, to its lines and those it belongs to
for (const path of packages(folder)) {
  const about = JSON.parse(readFileSync(join(path, "package.json"), "utf8"));
  for (const text of texts(path, about)) {
    const lines = text.replaceAll("\r", "").trim().split("\n").map((line) => line.trimEnd());
    const rest = lines.filter((line) => !copyrightLine.test(line));
    const key = rest.join(" ").toLowerCase().replace(/[^a-z0-9]+/g, " ").replace(/^ ?(the )?mit license( mit)? /, "").trim();
    const entry = found.get(key) ?? { body: rest.join("\n").trim(), names: new Set(), copyrights: new Set() };
    entry.names.add(about.name);
    lines.filter((line) => copyrightLine.test(line)).forEach((line) => entry.copyrights.add(line.trim()));
    found.set(key, entry);
  }
}

const rule = "-".repeat(80);
console.log("Licenses of the API reference of Scalar, and of the packages that its script contains.");
for (const { body, names, copyrights } of [...found.values()].sort((a, b) => b.names.size - a.names.size)) {
  console.log(`\n${rule}\n${[...names].sort().join(", ")}\n${rule}\n`);
  if (copyrights.size) console.log(`${[...copyrights].sort().join("\n")}\n`);
  console.log(body);
}
