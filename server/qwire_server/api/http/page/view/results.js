// The entries that were found, with a bar for each score.

import { isStale } from "../bases.js";
import { banner, byId, fill, make } from "../dom.js";
import { count, languageName, t } from "../i18n.js";
import { isForeign } from "../language.js";
import { shortName } from "../served.js";
import { readingOf } from "./reading.js";

const DIGITS = 4;

export function showResults(state, questions) {
  state.watch(() => {
    const results = questions.results();
    const reading = readingOf(state, results);
    fill(byId("results-status"), statusOf(state, results, reading));
    fill(byId("warning"), ...warnings(state, results, reading));
    fill(byId("results"), ...results.map((one, place) => line(one, place, reading)));
    byId("results").classList.toggle("stale", Boolean(state.get("asking")));
  });
}

function statusOf(state, results, { strengths }) {
  if (state.get("asking")) return t("waitAsk");
  if (state.get("reranking")) return t("waitRerank");
  const { base, asked } = { base: state.get("base"), asked: state.get("asked") };
  if (!base?.indexed) return state.get("indexing") ? "" : t("noVectors");
  if (!asked) return t("hint");
  const ms = Math.round(asked.ms + (state.get("rerank") ? state.get("reranked")?.ms ?? 0 : 0));
  const strong = strengths.filter((one) => one === "strong").length;
  const found = count("found", results.length, { total: base.indexed, ms });
  return `${found} · ${count("strong", strong)}`;
}

function warnings(state, results, { lost, scripts, strengths }) {
  const shown = [];
  if (state.get("trouble")) shown.push(banner("bad", t(...state.get("trouble"))));
  if (isStale(state.get("base"), state.get("server"))) shown.push(banner("bad", t("stale")));
  const { embedder } = state.get("server");
  if (!strengths.includes("meaningless")) return shown;
  const told = { model: shortName(embedder), languages: (embedder.languages ?? []).map(languageName).join(", ") };
  const isScript = lost && isForeign(state.get("asked").text, scripts);
  const name = lost ? (isScript ? "lostQuestion" : "lostTokens") : "lostTexts";
  return [...shown, banner("warn", t(name, told))];
}

function line({ index, score, cosine, before }, place, { strengths, threshold, texts, isReranked }) {
  const kind = strengths[place], digits = score.toFixed(DIGITS);
  const about = isReranked ? make("p", { class: "about" }, movement(before, place + 1),
    make("span", { text: t("cosine", { score: cosine.toFixed(DIGITS) }) })) : null;
  const tag = kind === "strong" ? make("span", { class: "tag", text: t("strong") }) : null;
  return make("li", { class: `result ${kind}`, "data-index": index },
    make("span", { class: "place", text: place + 1, "aria-hidden": "true" }),
    make("div", { class: "what" },
      make("p", { class: "text", text: texts[index] }), bar(score, digits, threshold), about),
    make("p", { class: "score" }, make("span", { class: "digits", text: digits, "aria-hidden": "true" }), tag));
}

function bar(score, digits, threshold) {
  const filled = make("span", { class: "filled" });
  filled.style.inlineSize = `${Math.max(0, Math.min(1, score)) * 100}%`;
  const mark = make("span", { class: "mark" });
  mark.style.insetInlineStart = `${threshold * 100}%`;
  return make("div", {
    class: "bar", role: "meter", "aria-label": t("score"), "aria-valuemin": 0, "aria-valuemax": 1,
    "aria-valuenow": digits, "aria-valuetext": digits,
  }, filled, mark);
}

/** Where a result was before it was reranked. */
function movement(before, now) {
  const n = Math.abs(before - now);
  const [kind, told] = before > now ? ["up", "movedUp"]
    : before < now ? ["down", "movedDown"] : ["same", "stayed"];
  return make("span", {
    class: `moved ${kind}`, role: "img", "aria-label": t(told, { n, before }),
    text: `${t(kind, { n })} · ${t("was", { n: before })}`,
  });
}
