// What stands in the way of everything: no server, no model, no key, no storage.

import { banner, byId, fill, make } from "../dom.js";
import { t } from "../i18n.js";
import { openKeyDialog } from "./header.js";

const WANTS_KEY = ["locked", "wrongKey", "forbidden"];
const BAD = ["gone", "failed", ...WANTS_KEY];

export function showAlerts(state) {
  state.watch(() => fill(byId("alerts"), ...alerts(state)));
}

function alerts(state) {
  const { phase, reason, embedder } = state.get("server");
  const shown = [];
  if (phase === "ready" && !embedder) shown.push(banner("bad", t("none")));
  if (phase !== "ready" && phase !== "asking") {
    shown.push(banner(BAD.includes(phase) ? "bad" : "calm", t(phase, { reason }), ...key(phase)));
  }
  if (state.get("forgetful")) shown.push(banner("calm", t("forgetful")));
  if (state.get("broken")) shown.push(banner("bad", t("broken", { reason: state.get("broken") })));
  return shown;
}

function key(phase) {
  if (!WANTS_KEY.includes(phase)) return [];
  return [make("button", { type: "button", text: t("enterKey"), click: openKeyDialog })];
}
