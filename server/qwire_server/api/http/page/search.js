// Cosines of vectors that may be cut to their first values. Pure.

/** The cosine of each row with the query, both cut to `dimensions` values. */
export function cosines(query, rows, dimensions) {
  const scores = new Float32Array(rows.length);
  const length = norm(query, dimensions) || 1;
  for (let i = 0; i < rows.length; i += 1) {
    scores[i] = dot(query, rows[i], dimensions) / (length * (norm(rows[i], dimensions) || 1));
  }
  return scores;
}

/** Positions of the highest scores, the best first; equal ones keep their order. */
export function best(scores, most) {
  const order = Array.from(scores.keys());
  return order.sort((a, b) => scores[b] - scores[a] || a - b).slice(0, most);
}

/** The first values, scaled to length 1: what the server gives for so many dimensions. */
export function cut(vector, dimensions) {
  const length = norm(vector, dimensions) || 1;
  return vector.slice(0, dimensions).map((value) => value / length);
}

function dot(a, b, dimensions) {
  let sum = 0;
  for (let i = 0; i < dimensions; i += 1) sum += a[i] * b[i];
  return sum;
}

function norm(vector, dimensions) {
  return Math.sqrt(dot(vector, vector, dimensions));
}
