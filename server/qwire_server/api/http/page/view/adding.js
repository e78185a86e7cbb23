// Entries that come in: pasted, chosen or dropped.

import { byId, make } from "../dom.js";
import { count, t } from "../i18n.js";
import { MOST_ENTRIES, decode, parse } from "../parse.js";

const FIRST_CHARACTERS = 80;

export function showAdding(state, bases) {
  const texts = byId("texts");
  const entries = () => state.get("pending")?.entries ?? parse("pasted.txt", texts.value);
  const clear = () => {
    texts.value = "";
    state.set({ pending: null });
  };
  texts.addEventListener("input", () => state.set({ pending: null }));
  byId("discard").addEventListener("click", clear);
  byId("file").addEventListener("change", async ({ target }) => {
    await take(state, target.files[0]);
    target.value = "";
  });
  byId("add").addEventListener("submit", (event) => {
    event.preventDefault();
    const found = entries().slice(0, MOST_ENTRIES);
    if (!found.length) return;
    const own = state.get("bases").filter((base) => !base.sample).length;
    const name = state.get("pending")?.name ?? t("pasted", { n: own + 1 });
    clear();
    bases.add(name, found);
  });
  takeDrops(state);
  state.watch(() => show(state, entries()));
}

async function take(state, file) {
  if (!file) return;
  const entries = parse(file.name, decode(await file.arrayBuffer()));
  state.set({ pending: { name: file.name, entries } });
}

function takeDrops(state) {
  const isFile = (event) => event.dataTransfer?.types.includes("Files");
  const lit = (on) => document.body.classList.toggle("dropping", on);
  addEventListener("dragover", (event) => {
    if (!isFile(event)) return;
    event.preventDefault();
    lit(true);
  });
  addEventListener("dragleave", (event) => { if (!event.relatedTarget) lit(false); });
  addEventListener("drop", (event) => {
    lit(false);
    if (!isFile(event)) return;
    event.preventDefault();
    take(state, event.dataTransfer.files[0]);
  });
}

function show(state, entries) {
  const pending = state.get("pending"), told = byId("pending");
  const button = byId("index");
  button.disabled = !entries.length;
  button.textContent = entries.length ? count("index", Math.min(entries.length, MOST_ENTRIES)) : t("indexNone");
  byId("discard").hidden = !pending;
  const parts = [];
  if (pending && !entries.length) parts.push(t("empty", pending));
  else if (pending) {
    const first = entries[0].slice(0, FIRST_CHARACTERS);
    parts.push(t("pending", { name: pending.name, n: entries.length, first }));
  }
  if (entries.length > MOST_ENTRIES) parts.push(t("tooMany", { n: MOST_ENTRIES }));
  told.hidden = !parts.length;
  told.replaceChildren(...parts.map((text) => make("span", { text })));
}
