// Which entries are shown, in which order, and how each score is to be read. Pure.

import { best, cosines } from "./search.js";
import { isForeign, isMostlyUnknown } from "./language.js";

const CANDIDATES = 20; // as many at least are reranked: what is shown may come from below

/** The nearest entries: `{ index, cosine }`, the best first; those without a vector never. */
export function nearest({ vector, rows, dimensions, failed, most }) {
  const scores = cosines(vector, rows, dimensions);
  for (const index of Object.keys(failed)) scores[index] = -Infinity;
  const found = best(scores, most).map((index) => ({ index, cosine: scores[index] }));
  return found.filter((one) => one.cosine > -Infinity);
}

/** How many of the nearest a reranker gets. */
export function candidates(topK) {
  return Math.max(CANDIDATES, topK);
}

/** The nearest in a reranker's order; `before` is the place they came from, from 1 on. */
export function reordered(found, scores) {
  return scores.map(({ index, score }) => ({ ...found[index], score, before: index + 1 }));
}

/** How a score is to be read: strong, weak, or meaningless to a model without the language. */
export function strength(score, { threshold, isMeaningless }) {
  if (isMeaningless) return "meaningless";
  return score > threshold ? "strong" : "weak";
}

/** Whether the model does not know the language of a question. */
export function isLost(asked, scripts) {
  return isForeign(asked.text, scripts) || isMostlyUnknown(asked.usage);
}
