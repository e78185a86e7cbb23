// The list of knowledge bases, progress while one is indexed, its entries.

import { isStale } from "../bases.js";
import { banner, byId, fill, make } from "../dom.js";
import { count, languageName, t } from "../i18n.js";
import { isForeign, knownScripts } from "../language.js";
import { SAMPLES } from "../samples.js";
import { shortName } from "../served.js";

const SHOWN_ENTRIES = 200;

export function showKnowledge(state, bases) {
  byId("cancel").addEventListener("click", () => bases.cancel());
  byId("bases").addEventListener("change", (event) => bases.open(event.target.value));
  state.watch(() => {
    showBases(state, bases);
    showProgress(state);
    fill(byId("base-notice"), ...notices(state, bases));
  });
  let listed = null;
  const entries = byId("entries");
  const list = () => {
    const base = state.get("base");
    byId("entries-title").textContent = t("entriesTitle", { n: base?.texts.length ?? 0 });
    if (!base || !entries.open || listed === base) return;
    listed = base;
    const rest = base.texts.length - SHOWN_ENTRIES;
    const items = base.texts.slice(0, SHOWN_ENTRIES).map((text) => make("li", { text }));
    if (rest > 0) items.push(make("li", { class: "rest", text: t("entriesMore", { n: rest }) }));
    byId("entry-list").replaceChildren(...items);
  };
  entries.addEventListener("toggle", list);
  state.watch(list);
}

function showBases(state, bases) {
  const own = state.get("bases").filter((base) => !base.sample);
  const known = (one) => state.get("bases").find((base) => base.id === one.id) ?? one;
  const first = (one) => Number(one.lang !== state.get("lang"));
  const all = [...own, ...SAMPLES.toSorted((a, b) => first(a) - first(b)).map(known)];
  const list = byId("bases");
  const focused = list.contains(document.activeElement) ? document.activeElement.value : null;
  const shape = JSON.stringify([all.map((base) => [base.id, base.indexed]), state.get("base")?.id, state.get("lang")]);
  if (list.dataset.shape === shape) return;
  list.dataset.shape = shape;
  list.replaceChildren(...all.map((base) => line(base, state.get("base")?.id === base.id, bases)));
  if (focused) list.querySelector("input:checked")?.focus();
}

function line(base, isOpen, bases) {
  const input = make("input", { type: "radio", name: "base", value: base.id, checked: isOpen });
  const label = make("label", {}, input, make("span", { class: "name", lang: base.lang, text: base.name }),
    make("span", { class: "size", text: size(base) }));
  const sampled = SAMPLES.some((sample) => sample.id === base.id);
  return make("li", {}, label, sampled ? null : make("button", {
    type: "button", class: "remove", "aria-label": t("remove", { name: base.name }), text: "×",
    click: () => bases.remove(base.id),
  }));
}

function size(base) {
  if (!base.texts) return t("sample");
  const { indexed, texts: { length } } = base;
  if (indexed < length) return t("partly", { n: indexed, total: length });
  return base.sample ? `${t("sample")} · ${count("entries", length)}` : count("entries", length);
}

function showProgress(state) {
  const { indexing, base } = { indexing: state.get("indexing"), base: state.get("base") };
  byId("progress").hidden = !indexing;
  if (!indexing || !base) return;
  const bar = byId("progress-bar");
  bar.max = base.texts.length;
  bar.value = base.indexed;
  const parts = [t("indexing", { n: base.indexed, total: base.texts.length })];
  if (indexing.wait) parts.push(t("waiting"));
  else if (base.indexed > indexing.first) parts.push(speed(indexing, base));
  byId("progress-text").textContent = parts.join(" · ");
}

function speed({ began, first }, base) {
  const rate = (base.indexed - first) / (performance.now() - began) * 1000;
  const left = Math.ceil((base.texts.length - base.indexed) / rate);
  return t("speed", { rate: Math.max(1, Math.round(rate)), left });
}

function notices(state, bases) {
  const base = state.get("base"), server = state.get("server");
  if (!base) return [];
  const shown = [];
  if (isStale(base, server)) {
    shown.push(banner("bad", t("stale"), act("reindex", () => bases.again())));
  } else if (base.indexed < base.texts.length && !state.get("indexing")) {
    const told = t("stopped", { n: base.indexed, total: base.texts.length });
    shown.push(banner("calm", told, act("continue", () => bases.index())));
  }
  if (state.get("notice")) shown.push(banner("bad", t(...state.get("notice"))));
  const failed = Object.values(base.failed);
  if (failed.length) shown.push(banner("calm", count("failed", failed.length, { reason: failed[0] })));
  if (base.cut) shown.push(banner("calm", count("cut", base.cut)));
  if (isLost(base, server.embedder)) {
    const languages = server.embedder.languages.map(languageName).join(", ");
    shown.push(banner("warn", t("lostBase", { model: shortName(server.embedder), languages })));
  }
  return shown;
}

function act(name, click) {
  return make("button", { type: "button", text: t(name), click });
}

function isLost(base, embedder) {
  const known = knownScripts(embedder?.languages);
  const looked = base.texts.slice(0, SHOWN_ENTRIES);
  return known !== null && looked.filter((text) => isForeign(text, known)).length > looked.length / 2;
}
