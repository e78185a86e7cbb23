// The top line: how the server is, key, language, theme.

import { setApiKey, apiKey, remember, remembered } from "../settings.js";
import { byId, fill, make } from "../dom.js";
import { choose, t } from "../i18n.js";
import { shortName } from "../served.js";

const THEMES = ["auto", "light", "dark"];

export function showHeader(state, server) {
  const language = byId("language-button"), theme = byId("theme-button");
  language.addEventListener("click", () => {
    const lang = state.get("lang") === "en" ? "zh" : "en";
    choose(lang);
    state.set({ lang });
  });
  theme.addEventListener("click", () => {
    const next = THEMES[(THEMES.indexOf(state.get("theme")) + 1) % THEMES.length];
    apply(next);
    state.set({ theme: next });
  });
  prepareKey(state, server);
  state.watch(() => {
    language.textContent = t("otherLanguage");
    language.setAttribute("aria-label", `${t("otherLanguage")}, ${t("switchLanguage")}`);
    language.lang = state.get("lang") === "en" ? "zh-CN" : "en";
    theme.textContent = t(`theme.${state.get("theme")}`);
    fill(byId("server"), ...told(state.get("server")));
  });
}

export function chosenTheme() {
  const chosen = remembered("theme", "auto");
  return THEMES.includes(chosen) ? chosen : "auto";
}

function apply(theme) {
  remember("theme", theme);
  document.documentElement.dataset.theme = theme;
}

function told({ phase, reason, embedder }) {
  const light = make("span", { class: `light ${phase}`, "aria-hidden": "true" });
  if (phase !== "ready") return [light, t(`server.${phase}`, { reason })];
  if (!embedder) return [light, t("server.none")];
  const name = make("strong", { text: shortName(embedder), title: embedder.id });
  const { dimensions, device, dtype } = embedder;
  return [light, name, make("span", { class: "more", text: `${dimensions} · ${device} · ${dtype}` })];
}

function prepareKey(state, server) {
  const dialog = byId("key-dialog");
  byId("key-button").addEventListener("click", openKeyDialog);
  byId("key-close").addEventListener("click", () => dialog.close());
  byId("key-form").addEventListener("submit", (event) => {
    event.preventDefault();
    setApiKey(byId("key").value.trim());
    dialog.close();
    server.again();
  });
  let asked = false;
  state.watch(() => {
    if (asked || state.get("server").phase !== "locked") return;
    asked = true; // once; then the banner has a button for it
    openKeyDialog();
  });
}

export function openKeyDialog() {
  const dialog = byId("key-dialog");
  if (dialog.open) return;
  byId("key").value = apiKey();
  dialog.showModal();
}
