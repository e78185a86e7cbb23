// How the scores that are shown are to be read, by list and map alike.

import { isForeign, knownScripts } from "../language.js";
import { isLost, strength } from "../ranking.js";

/** How the scores of these results are to be read. */
export function readingOf(state, results) {
  const { embedder } = state.get("server"), asked = state.get("asked");
  const texts = state.get("base")?.texts ?? [];
  const scripts = knownScripts(embedder?.languages);
  const lost = asked !== null && isLost(asked, scripts);
  const threshold = state.get("threshold");
  const strengths = results.map(({ index, score }) => strength(score, {
    threshold, isMeaningless: lost || isForeign(texts[index], scripts),
  }));
  return { lost, scripts, strengths, threshold, texts, isReranked: results.some((one) => one.before) };
}
