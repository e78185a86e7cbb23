// A map of the knowledge base with the question in it.

import { byId, draw, make } from "../dom.js";
import { t } from "../i18n.js";
import { flat } from "../pca.js";
import { cut } from "../search.js";
import { readingOf } from "./reading.js";

const MOST_POINTS = 400; // a tenth of a second for vectors of 1024 values
const SIZE = 500;
const EDGE = 24;

export function showMap(state, questions) {
  const part = byId("map");
  let last = [];
  const show = () => {
    const seen = [state.get("rows"), state.get("asked"), state.get("dimensions"), state.get("lang"),
      state.get("topK"), state.get("reranked"), state.get("rerank"), state.get("threshold")];
    if (!part.open || seen.every((value, i) => value === last[i])) return;
    last = seen;
    byId("map-body").replaceChildren(...drawn(state, questions.results()));
  };
  part.addEventListener("toggle", show);
  state.watch(show);
}

function drawn(state, results) {
  const rows = state.get("rows"), base = state.get("base"), asked = state.get("asked");
  const shown = selection(rows.length, results.map((one) => one.index))
    .filter((index) => !(index in base.failed));
  if (shown.length < 3) return [make("p", { class: "note", text: t("mapNone") })];
  const dimensions = state.get("dimensions") ?? rows[0].length;
  const vectors = shown.map((index) => cut(rows[index], dimensions));
  if (asked) vectors.push(cut(asked.vector, dimensions));
  const { points, share } = fitted(vectors);
  const { strengths } = readingOf(state, results);
  const places = new Map(results.map(({ index }, place) => (
    [index, { place: place + 1, kind: strengths[place] }])));
  const told = make("p", { class: "told", "aria-live": "off", text: "\u00a0" });
  const dots = shown.map((index, i) => dot(points[i], base.texts[index], places.get(index), told));
  dots.sort((a, b) => Number(a.dataset.found ?? 0) - Number(b.dataset.found ?? 0)); // found ones on top
  if (asked) dots.push(diamond(points.at(-1), asked.text, told));
  const parts = [
    draw("svg", { class: "map", viewBox: `0 0 ${SIZE} ${SIZE * 0.7}`, role: "img", "aria-label": t("mapLabel", { n: shown.length }) }, ...dots),
    told, make("p", { class: "note", text: t("mapNote", { share }) }),
  ];
  if (shown.length < rows.length) parts.push(make("p", { class: "note", text: t("mapSome", { n: shown.length }) }));
  return parts;
}

/** What was found, and others evenly spread over the base. */
function selection(total, found) {
  const step = Math.max(1, total / MOST_POINTS);
  const chosen = new Set(found);
  for (let at = 0; at < total && chosen.size < MOST_POINTS; at += step) chosen.add(Math.floor(at));
  return [...chosen];
}

/** Points in the picture, and the percentage of the spread that they hold. */
function fitted(vectors) {
  const points = flat(vectors);
  const lows = [0, 1].map((axis) => Math.min(...points.map((point) => point[axis])));
  const spans = [0, 1].map((axis) => Math.max(...points.map((point) => point[axis])) - lows[axis] || 1);
  const sizes = [SIZE, SIZE * 0.7];
  const place = (point) => point.map((value, axis) => (
    EDGE + (value - lows[axis]) / spans[axis] * (sizes[axis] - 2 * EDGE)));
  const held = points.reduce((sum, [x, y]) => sum + x * x + y * y, 0);
  return { points: points.map(place), share: Math.round(held / spread(vectors) * 100) };
}

function spread(vectors) {
  const mean = vectors[0].map((_, i) => vectors.reduce((sum, vector) => sum + vector[i], 0) / vectors.length);
  return vectors.reduce((sum, vector) => (
    sum + vector.reduce((part, value, i) => part + (value - mean[i]) ** 2, 0)), 0) || 1;
}

function dot([cx, cy], text, found, told) {
  const kind = found ? `found ${found.kind}` : "";
  const circle = draw("circle", { cx, cy, r: found ? 9 : 4.5 });
  const group = draw("g", { class: `point ${kind}` }, circle, draw("title", { text }));
  if (found) {
    group.dataset.found = 1;
    group.append(draw("text", { x: cx, y: cy + 3.5, text: found.place }));
  }
  return pointing(group, text, told);
}

function diamond([x, y], text, told) {
  const shape = draw("path", { d: `M${x} ${y - 10} L${x + 10} ${y} L${x} ${y + 10} L${x - 10} ${y} Z` });
  return pointing(draw("g", { class: "point question" }, shape, draw("title", { text })), text, told);
}

function pointing(group, text, told) {
  group.addEventListener("pointerenter", () => { told.textContent = text; });
  return group;
}
