// Checks the hash and range vectors, and the buckets behind the evaluations, with Node alone:
//   node tests/vectors/read_vectors.mjs
// It shares no code with the evaluator. Prints one line of counts; exit status 1 names each case that differs.

import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";

const BUCKETS = 1000000;

function read(name) {
  return JSON.parse(readFileSync(new URL(name, import.meta.url), "utf8"));
}

function digest(salt, unitId) {
  return createHash("sha256").update(`${Buffer.byteLength(salt, "utf8")}:${salt}${unitId}`, "utf8").digest("hex");
}

function bucket(salt, unitId) {
  return parseInt(digest(salt, unitId).slice(0, 13), 16) % BUCKETS; // 52 bits are exact in a double
}

// The exact value of a double as [numerator, exponent]: numerator * 2^exponent.
function exact(weight) {
  const view = new DataView(new ArrayBuffer(8));
  view.setFloat64(0, weight);
  const bits = view.getBigUint64(0);
  const exponent = Number((bits >> 52n) & 0x7ffn);
  const mantissa = bits & 0xfffffffffffffn;
  return exponent === 0 ? [mantissa, -1074] : [mantissa | 0x10000000000000n, exponent - 1075];
}

// Weights as integers in the same proportion. A literal without point or exponent is an integer of any size.
function shares(literals) {
  const values = literals.map((text) => (/^\d+$/.test(text) ? [BigInt(text), 0] : exact(Number(text))));
  const lowest = Math.min(...values.map(([, exponent]) => exponent));
  return values.map(([numerator, exponent]) => numerator << BigInt(exponent - lowest));
}

function ranges(literals) {
  const parts = shares(literals);
  const total = parts.reduce((sum, part) => sum + part, 0n);
  const quotas = parts.map((part) => part * BigInt(BUCKETS));
  const sizes = quotas.map((quota) => Number(quota / total));
  const order = parts.map((_, index) => index).sort((a, b) => {
    const difference = (quotas[b] % total) - (quotas[a] % total);
    return difference === 0n ? a - b : difference > 0n ? 1 : -1;
  });
  const left = BUCKETS - sizes.reduce((sum, size) => sum + size, 0);
  for (const index of order.slice(0, left)) sizes[index] += 1;
  let low = 0;
  return sizes.map((size) => [low, (low += size)]);
}

// JSON.parse would round integers beyond 2^53, so the literals are read from the text: one case a line.
function weightLiterals(text, name) {
  const line = text.split("\n").find((candidate) => candidate.includes(`"name": ${JSON.stringify(name)},`));
  return line.match(/"weights": \[([^\]]*)\]/)[1].split(", ");
}

const failures = [];

function expect(name, actual, expected) {
  if (JSON.stringify(actual) !== JSON.stringify(expected)) {
    failures.push(`${name}: expected ${JSON.stringify(expected)}, got ${JSON.stringify(actual)}`);
  }
}

function checkHash() {
  const { cases } = read("hash.json");
  for (const { name, salt, unit_id, bucket: expected, sha256 } of cases) {
    expect(`hash: ${name}`, [bucket(salt, unit_id), digest(salt, unit_id)], [expected, sha256]);
  }
  return cases.length;
}

function checkRanges() {
  const text = readFileSync(new URL("ranges.json", import.meta.url), "utf8");
  const { cases } = JSON.parse(text);
  for (const { name, ranges: expected } of cases) {
    expect(`ranges: ${name}`, ranges(weightLiterals(text, name)), expected);
  }
  return cases.length;
}

// Where a case shows its buckets, they must be right, and so must be what follows from them.
function checkEvaluations() {
  const { cases, snapshots } = read("evaluations.json");
  const drawn = cases.filter((candidate) => candidate.buckets);
  for (const { name, snapshot, experiment, unit_id, units, buckets, expected } of drawn) {
    const { experiments, holdouts = {} } = snapshots[snapshot];
    const rule = experiments[experiment];
    const unit = units?.[rule.unit_type] ?? unit_id;
    const found = { layer: bucket(rule.layer.salt, unit), variant: bucket(rule.salt, unit) };
    for (const [key, group] of expected.holdouts ?? []) {
      const held = (found.holdouts ??= {})[key] = bucket(holdouts[key].salt, unit);
      const [low, high] = holdouts[key].range;
      expect(`evaluations: ${name}`, group, low <= held && held < high ? "held_out" : "open");
    }
    expect(`evaluations: ${name}`, found, buckets);
    if (!["ASSIGNED", "NOT_IN_COVERAGE"].includes(expected.reason)) continue;
    const covered = rule.layer.slots.some(([low, high]) => low <= buckets.layer && buckets.layer < high);
    const drawnVariant = rule.variants.find(({ range }) => range[0] <= buckets.variant && buckets.variant < range[1]);
    expect(`evaluations: ${name}`, expected.reason, covered ? "ASSIGNED" : "NOT_IN_COVERAGE");
    expect(`evaluations: ${name}`, expected.variant, covered ? drawnVariant.key : rule.control);
  }
  return drawn.length;
}

const counts = `hash ${checkHash()}, ranges ${checkRanges()}, evaluations ${checkEvaluations()}`;
for (const failure of failures) console.error(failure);
console.log(`${counts}: ${failures.length === 0 ? "all agree" : `${failures.length} differ`}`);
process.exitCode = failures.length === 0 ? 0 : 1;
