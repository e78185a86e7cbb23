// Whether a model knows the script of a text. Pure; an alphabet says nothing about the language in it.

const SCRIPTS = {
  Latin: /\p{Script=Latin}/gu,
  Han: /\p{Script=Han}/gu,
  Kana: /[\p{Script=Hiragana}\p{Script=Katakana}]/gu,
  Hangul: /\p{Script=Hangul}/gu,
  Cyrillic: /\p{Script=Cyrillic}/gu,
  Greek: /\p{Script=Greek}/gu,
  Arabic: /\p{Script=Arabic}/gu,
  Hebrew: /\p{Script=Hebrew}/gu,
  Devanagari: /\p{Script=Devanagari}/gu,
  Thai: /\p{Script=Thai}/gu,
};
const OF_LANGUAGE = {
  zh: ["Han"], ja: ["Han", "Kana"], ko: ["Hangul", "Han"], ru: ["Cyrillic"], uk: ["Cyrillic"],
  bg: ["Cyrillic"], el: ["Greek"], ar: ["Arabic"], fa: ["Arabic"], ur: ["Arabic"],
  he: ["Hebrew"], hi: ["Devanagari"], mr: ["Devanagari"], th: ["Thai"],
  en: [], de: [], fr: [], es: [], it: [], pt: [], nl: [], pl: [], tr: [], vi: [], id: [],
};
const FOREIGN_SHARE = 0.3; // of letters; a name or a term in another script is no other language
const UNKNOWN_SHARE = 0.25; // of tokens

/** Scripts that a model knows; null if it knows many languages, or does not say. */
export function knownScripts(languages) {
  const named = (languages ?? []).map((tag) => tag.toLowerCase().split(/[-_]/)[0]);
  if (!named.length || named.some((tag) => !(tag in OF_LANGUAGE))) return null;
  return new Set(["Latin", ...named.flatMap((tag) => OF_LANGUAGE[tag])]);
}

/** Whether a good part of a text is in a script that is not among `known`. */
export function isForeign(text, known) {
  if (!known) return false;
  let letters = 0, foreign = 0;
  for (const [script, pattern] of Object.entries(SCRIPTS)) {
    const count = text.match(pattern)?.length ?? 0;
    letters += count;
    if (!known.has(script)) foreign += count;
  }
  return letters > 0 && foreign / letters > FOREIGN_SHARE;
}

/** Whether so many tokens mean nothing to the model that its vector does not either. */
export function isMostlyUnknown(usage) {
  return (usage?.unknown_tokens ?? 0) > UNKNOWN_SHARE * (usage?.prompt_tokens ?? 0);
}
