// What a question became: its vector, its tokens, where the time went.

import { byId, draw, make } from "../dom.js";
import { t } from "../i18n.js";
import { cut } from "../search.js";

const BARS = 50;
const WIDTH = 500;
const HEIGHT = 120;
const PARTS = ["queue", "tokenizer", "model"];

export function showBehind(state) {
  const part = byId("behind");
  const show = () => {
    if (part.open) byId("behind-body").replaceChildren(...told(state));
  };
  part.addEventListener("toggle", show);
  state.watch(show);
}

function told(state) {
  const asked = state.get("asked"), base = state.get("base");
  if (!asked) return [make("p", { class: "note", text: t("behindNone") })];
  const { embedder } = state.get("server");
  const vector = cut(asked.vector, state.get("dimensions") ?? asked.vector.length);
  return [facts([
    ["model", embedder?.id ?? base.model],
    ["device", embedder ? `${embedder.device}, ${embedder.dtype}` : "-"],
    ["vector", t("values", { n: vector.length })],
    ["range", `${low(vector)} … ${high(vector)}`],
    ["length", Math.hypot(...vector).toFixed(4)],
    ["tokens", tokens(asked.usage)],
    ["prompt", asked.instruction || t(isBare(asked, embedder) ? "promptNone" : "promptOwn")],
    ["fingerprint", base.fingerprint],
    ["indexTime", t("indexTold", { n: base.indexed, tokens: base.tokens })],
  ]), ...times(asked), ...chart(vector)];
}

function isBare(asked, embedder) {
  return asked.instruction === "" || !embedder?.instructions;
}

function facts(pairs) {
  return make("dl", { class: "facts" }, ...pairs.map(([name, value]) => make("div", {},
    make("dt", { text: t(name) }), make("dd", { text: value }))));
}

function tokens({ prompt_tokens: n, unknown_tokens: unknown = 0 }) {
  return unknown ? t("unknown", { n, unknown }) : n;
}

/** Where the time went, as far as the server tells; the rest is the way there and back. */
function times({ timing, ms }) {
  const known = PARTS.filter((name) => name in timing).map((name) => [name, timing[name]]);
  const way = Math.max(0, ms - known.reduce((sum, [, part]) => sum + part, 0));
  const parts = known.length ? [...known, ["way", way]] : [["way", ms]];
  const words = parts.map(([name, part]) => `${t(`time.${name}`)} ${milliseconds(part)}`);
  const strip = make("div", { class: "strip", role: "img", "aria-label": t("timeLabel", { parts: words.join(", "), ms: ms.toFixed(1) }) });
  for (const [name, part] of parts) {
    const piece = make("span", { class: `piece ${name}` });
    piece.style.flexGrow = part / ms;
    strip.append(piece);
  }
  const legend = make("ul", { class: "legend", "aria-hidden": "true" },
    ...parts.map(([name], i) => make("li", { class: name, text: words[i] })));
  return [make("h3", { text: `${t("time")}: ${milliseconds(ms)}` }), strip, legend];
}

function milliseconds(ms) {
  return t("milliseconds", { ms: ms.toFixed(1) });
}

function chart(vector) {
  const shown = vector.slice(0, BARS), n = shown.length;
  const most = Math.max(...shown.map(Math.abs)) || 1, step = WIDTH / n, middle = HEIGHT / 2;
  const bars = Array.from(shown, (value, i) => {
    const height = Math.abs(value) / most * (middle - 2);
    return draw("rect", {
      x: i * step + step * 0.12, y: value > 0 ? middle - height : middle, width: step * 0.76, height,
      rx: 1.5, class: value > 0 ? "above" : "below",
    }, draw("title", { text: `${i}: ${value.toFixed(5)}` }));
  });
  const label = t("chartLabel", { n, low: low(shown), high: high(shown) });
  return [
    make("h3", { text: t("firstValues", { n }) }),
    draw("svg", { class: "chart", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": label },
      draw("line", { x1: 0, x2: WIDTH, y1: middle, y2: middle, class: "axis" }), ...bars),
  ];
}

function low(vector) {
  return digits(Math.min(...vector));
}

function high(vector) {
  return digits(Math.max(...vector));
}

function digits(value) {
  return value.toFixed(4).replace("-", "\u2212");
}
