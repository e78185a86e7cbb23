// A flat map of vectors: their two directions of greatest spread. Pure.

const ROUNDS = 40; // of power iteration; nearer than a pixel for texts

/** `[x, y]` of each row. The rows are not changed. */
export function flat(rows) {
  if (!rows.length) return [];
  const centred = withoutMean(rows);
  const first = direction(centred, null);
  const second = direction(centred, first);
  return centred.map((row) => [dot(row, first), dot(row, second)]);
}

function withoutMean(rows) {
  const mean = new Float64Array(rows[0].length);
  for (const row of rows) row.forEach((value, i) => { mean[i] += value / rows.length; });
  return rows.map((row) => Float64Array.from(row, (value, i) => value - mean[i]));
}

/** The direction of greatest spread that is at a right angle to `other`. */
function direction(rows, other) {
  // A start that is the same each time, so that the map is too.
  let found = Float64Array.from(rows[0], (_, i) => Math.sin(i * 1.7 + (other ? 2 : 1)));
  for (let round = 0; round < ROUNDS; round += 1) {
    if (other) without(found, other);
    found = unit(spread(rows, found)) ?? unit(found);
    if (!found) return new Float64Array(rows[0].length);
  }
  if (other) without(found, other);
  return unit(found) ?? found;
}

/** The covariance times a vector. */
function spread(rows, vector) {
  const sum = new Float64Array(vector.length);
  for (const row of rows) {
    const part = dot(row, vector);
    for (let i = 0; i < sum.length; i += 1) sum[i] += part * row[i];
  }
  return sum;
}

function without(vector, other) {
  const part = dot(vector, other);
  for (let i = 0; i < vector.length; i += 1) vector[i] -= part * other[i];
}

function unit(vector) {
  const length = Math.sqrt(dot(vector, vector));
  return length > 1e-12 ? vector.map((value) => value / length) : null;
}

function dot(a, b) {
  let sum = 0;
  for (let i = 0; i < a.length; i += 1) sum += a[i] * b[i];
  return sum;
}
