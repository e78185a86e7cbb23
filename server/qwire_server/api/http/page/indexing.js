// Gives every entry of a base its vector, a batch at a time; each batch is kept as it comes.

import { Refused, embed, patiently } from "./api.js";

const BATCH_TEXTS = 32; // about a second on a CPU: that often progress moves, and cancelling is felt
const BATCH_CHARACTERS = 32 * 1024;

/** Index what is not indexed yet; `grown` is told of each batch. */
export async function index(base, { mostTexts, store, signal, grown, waiting, back }) {
  while (base.indexed < base.texts.length) {
    const first = base.indexed;
    const batch = batchFrom(base.texts, first, Math.min(mostTexts, BATCH_TEXTS));
    const work = () => answered(batch, (texts) => (
      embed(texts, { fingerprint: base.fingerprint, bulk: true, signal })));
    const answer = await patiently(work, { signal, waiting, back });
    note(base, first, answer);
    const vectors = answer.vectors.map((vector) => vector ?? new Float32Array(base.dimensions));
    await store.grow(base, first, vectors);
    grown(vectors);
  }
}

/** Entries from a position on, as many as make a batch; one at least. */
export function batchFrom(texts, first, most) {
  let characters = 0, last = first;
  while (last < texts.length && last - first < most) {
    characters += texts[last].length;
    if (last > first && characters > BATCH_CHARACTERS) break;
    last += 1;
  }
  return texts.slice(first, last);
}

/** A base remembers what its vectors took, which model made them, and what has none. */
function note(base, first, answer) {
  base.fingerprint ??= answer.fingerprint;
  base.model ??= answer.model;
  base.indexed += answer.vectors.length;
  base.tokens += answer.usage.prompt_tokens;
  base.cut += answer.usage.cut_tokens ?? 0;
  for (const [i, reason] of answer.failed) base.failed[first + i] = reason;
}

/** Vectors of all texts but those that are refused for themselves; too large a request goes in halves. */
export async function answered(texts, request) {
  if (!texts.length) return nothing();
  try {
    return { ...(await request(texts)), failed: new Map() };
  } catch (error) {
    if (!(error instanceof Refused) || error.passes) throw error;
    const large = error.status === 413 || error.code === "request_too_large";
    const culprit = error.index ?? (large && texts.length === 1 ? 0 : null);
    if (culprit !== null) {
      const rest = await answered(texts.toSpliced(culprit, 1), request);
      return withGap(rest, culprit, error.message);
    }
    if (!large) throw error;
    const middle = texts.length >> 1;
    return sum(await answered(texts.slice(0, middle), request),
      await answered(texts.slice(middle), request));
  }
}

function nothing() {
  const usage = { prompt_tokens: 0, cut_tokens: 0 };
  return { vectors: [], usage, model: null, fingerprint: null, failed: new Map() };
}

function withGap(answer, at, reason) {
  const failed = [...answer.failed].map(([i, why]) => [i < at ? i : i + 1, why]);
  const vectors = answer.vectors.toSpliced(at, 0, null);
  return { ...answer, vectors, failed: new Map([...failed, [at, reason]]) };
}

function sum(a, b) {
  const usage = {};
  for (const name of ["prompt_tokens", "cut_tokens"]) {
    usage[name] = (a.usage[name] ?? 0) + (b.usage[name] ?? 0);
  }
  const later = [...b.failed].map(([i, why]) => [i + a.vectors.length, why]);
  return {
    vectors: [...a.vectors, ...b.vectors],
    usage,
    model: a.model ?? b.model,
    fingerprint: a.fingerprint ?? b.fingerprint,
    failed: new Map([...a.failed, ...later]),
  };
}
