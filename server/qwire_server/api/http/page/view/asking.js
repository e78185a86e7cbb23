// The question, questions to try, and the options of the search.

import { byId, make } from "../dom.js";
import { t } from "../i18n.js";
import { shortName } from "../served.js";
import { remember } from "../settings.js";

// What models were trained on is English, whatever the language of the texts.
const PRESETS = {
  own: null,
  faq: "Given a customer's question, retrieve the help articles that answer it",
  technical: "Given a technical problem, retrieve passages that explain its cause or its fix",
  need: "Given what a user needs, retrieve the offers and features that meet it",
  legal: "Given a situation, retrieve the clauses that carry a legal risk in it",
  similar: "Retrieve texts that mean the same",
  poem: "Given a feeling or a scene, retrieve lines of poetry that express it",
  bare: "",
};
const WIDE = "(min-width: 60rem)";

export function showAsking(state, questions) {
  const field = byId("question");
  byId("ask").addEventListener("submit", (event) => {
    event.preventDefault();
    questions.ask(field.value);
  });
  byId("options").open = matchMedia(WIDE).matches;
  prepareInstruction(state, () => questions.ask(field.value));
  bindRange(state, "top-k", "topK", () => questions.rerank());
  bindRange(state, "threshold", "threshold");
  bindRange(state, "dimensions", "dimensions", () => questions.rerank());
  byId("rerank").addEventListener("change", ({ target }) => {
    state.set({ rerank: target.checked });
    questions.rerank();
  });
  state.watch(() => {
    showExamples(state, (text) => {
      field.value = text;
      questions.ask(text);
    });
    showInstruction(state);
    showRanges(state);
    showReranker(state);
  });
}

function showExamples(state, ask) {
  const list = byId("examples"), questions = state.get("base")?.questions ?? [];
  const shape = JSON.stringify(questions);
  if (list.dataset.shape === shape) return;
  list.dataset.shape = shape;
  list.hidden = !questions.length;
  list.replaceChildren(...questions.map((text) => make("li", {},
    make("button", { type: "button", class: "chip", text, click: () => ask(text) }))));
}

function bindRange(state, id, name, then = () => {}) {
  const input = byId(id);
  input.addEventListener("input", () => {
    state.set({ [name]: Number(input.value) });
    if (name !== "dimensions") remember(name, Number(input.value));
  });
  input.addEventListener("change", then);
}

function showRanges(state) {
  byId("top-k").value = byId("top-k-value").value = state.get("topK");
  byId("threshold").value = state.get("threshold");
  byId("threshold-value").value = state.get("threshold").toFixed(2);
  const { embedder } = state.get("server"), input = byId("dimensions");
  const isFixed = !embedder || embedder.min_dimensions === embedder.dimensions;
  input.disabled = isFixed;
  byId("dimensions-note").textContent = embedder ? t(isFixed ? "dimensionsFixed" : "dimensionsFree") : "";
  if (!embedder) return;
  input.min = isFixed ? 0 : embedder.min_dimensions;
  input.max = embedder.dimensions;
  input.value = state.get("dimensions") ?? embedder.dimensions;
  byId("dimensions-value").value = input.value;
}

function prepareInstruction(state, ask) {
  const select = byId("preset"), free = byId("instruction");
  const chosen = () => (select.value === "custom" ? free.value.trim() || null : PRESETS[select.value]);
  select.addEventListener("change", () => {
    state.set({ preset: select.value, instruction: chosen() });
    if (select.value === "custom") free.focus();
    else ask();
  });
  free.addEventListener("input", () => state.set({ instruction: chosen() }));
  free.addEventListener("change", ask);
}

function showInstruction(state) {
  const select = byId("preset"), takes = state.get("server").embedder?.instructions ?? true;
  const names = [...Object.keys(PRESETS), "custom"];
  if (select.dataset.lang !== state.get("lang")) {
    select.dataset.lang = state.get("lang");
    select.replaceChildren(...names.map((value) => make("option", { value, text: t(`preset.${value}`) })));
  }
  select.value = state.get("preset");
  select.hidden = !takes;
  byId("instruction").hidden = !takes || state.get("preset") !== "custom";
  const note = byId("instruction-note"), preset = PRESETS[state.get("preset")];
  note.hidden = takes && !preset;
  note.textContent = takes ? preset ?? "" : t("instructionNone");
}

function showReranker(state) {
  const { reranker } = state.get("server");
  byId("rerank-option").hidden = !reranker;
  byId("rerank").checked = state.get("rerank");
  byId("rerank-note").textContent = reranker ? `${t("rerankNote")} (${shortName(reranker)})` : "";
}
