// Choices that outlive the page (localStorage), and the key, which ends with the tab.

const PREFIX = "qwire-";

/** A choice made here before; `fallback` if there is none, or storage is off. */
export function remembered(name, fallback) {
  try {
    return JSON.parse(localStorage.getItem(PREFIX + name)) ?? fallback;
  } catch {
    return fallback;
  }
}

export function remember(name, value) {
  try {
    localStorage.setItem(PREFIX + name, JSON.stringify(value));
  } catch {
    // Storage is off or full: the choice lasts as long as the page.
  }
}

let key = "";

export function apiKey() {
  try {
    return sessionStorage.getItem(`${PREFIX}key`) ?? key;
  } catch {
    return key;
  }
}

export function setApiKey(value) {
  key = value;
  try {
    if (value) sessionStorage.setItem(`${PREFIX}key`, value);
    else sessionStorage.removeItem(`${PREFIX}key`);
  } catch {
    // As above.
  }
}
