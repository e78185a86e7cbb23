// The page's words, in the reader's language.

import { en } from "./words/en.js";
import { zh } from "./words/zh.js";
import { remember, remembered } from "./settings.js";

const WORDS = { en, zh };
let current = "en";

/** The language chosen before, else the browser's first that we have. */
export function preferredLanguage() {
  const wanted = [remembered("lang", null), ...navigator.languages].filter(Boolean);
  const known = wanted.map((tag) => tag.toLowerCase().split("-")[0]).find((tag) => tag in WORDS);
  return known ?? "en";
}

/** Speak a language from now on, and say all that stands in the page in it. */
export function speak(lang) {
  current = lang;
  document.documentElement.lang = lang === "zh" ? "zh-CN" : lang;
  for (const element of document.querySelectorAll("[data-t]")) {
    element.textContent = t(element.dataset.t);
  }
  for (const element of document.querySelectorAll("[data-t-label]")) {
    element.setAttribute("aria-label", t(element.dataset.tLabel));
  }
  for (const element of document.querySelectorAll("[data-t-placeholder]")) {
    element.placeholder = t(element.dataset.tPlaceholder);
  }
}

export function choose(lang) {
  remember("lang", lang);
  speak(lang);
}

/** A sentence, with `{name}` replaced by what is given for it. */
export function t(name, values = {}) {
  const words = WORDS[current][name];
  return words.replace(/\{(\w+)\}/g, (_, key) => shown(values[key]));
}

/** `name` with the ending of a number: `entries.one`, `entries.other`. */
export function count(name, n, values = {}) {
  const form = new Intl.PluralRules(current).select(n);
  return t(`${name}.${form}`, { n, ...values });
}

/** A language's name, in the reader's. */
export function languageName(tag) {
  try {
    return new Intl.DisplayNames([current], { type: "language" }).of(tag);
  } catch {
    return tag;
  }
}

function shown(value) {
  return typeof value === "number" ? value.toLocaleString(current) : String(value);
}
