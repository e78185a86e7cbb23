// Builds everything once, and starts it.

import { Bases } from "./bases.js";
import { preferredLanguage, speak } from "./i18n.js";
import { Memory } from "./memory.js";
import { Questions } from "./questions.js";
import { Server } from "./server.js";
import { remembered } from "./settings.js";
import { State } from "./state.js";
import { Store } from "./store.js";
import { showAdding } from "./view/adding.js";
import { showAlerts } from "./view/alerts.js";
import { showAsking } from "./view/asking.js";
import { showBehind } from "./view/behind.js";
import { chosenTheme, showHeader } from "./view/header.js";
import { showKnowledge } from "./view/knowledge.js";
import { showMap } from "./view/map.js";
import { showResults } from "./view/results.js";

const THRESHOLD = 0.4;
const TOP_K = 5;

const state = new State({
  lang: preferredLanguage(),
  theme: chosenTheme(),
  server: { phase: "asking", reason: "", embedder: null, reranker: null },
  bases: [], // all that are kept
  base: null, // the open one; it grows while it is indexed
  rows: [], // its vectors, as far as they are there
  indexing: null, // { began, first, wait } while it is indexed
  notice: null, // why it was not
  pending: null, // a file that is about to become a base
  asking: null, // the question that is on its way
  asked: null, // the last one that was answered: { text, vector, usage, timing, ms }
  reranked: null, // what the reranker said to it
  reranking: false,
  trouble: null, // why a question was refused
  topK: remembered("topK", TOP_K),
  threshold: remembered("threshold", THRESHOLD),
  dimensions: null, // all of them
  preset: "own",
  instruction: null,
  rerank: false,
  forgetful: false, // the browser keeps nothing
  broken: null, // a fault of this page
});

function tell(error) {
  const broken = String(error?.message ?? error);
  if (state.get("broken") !== broken) state.set({ broken });
}

async function start() {
  addEventListener("error", (event) => tell(event.error ?? event.message));
  addEventListener("unhandledrejection", (event) => tell(event.reason));
  speak(state.get("lang"));
  const store = await Store.open().catch(() => new Memory());
  state.set({ forgetful: store instanceof Memory });
  const server = new Server(state);
  const bases = new Bases(state, store, server);
  const questions = new Questions(state, server);
  showHeader(state, server);
  showAlerts(state);
  showAsking(state, questions);
  showResults(state, questions);
  showKnowledge(state, bases);
  showAdding(state, bases);
  showBehind(state);
  showMap(state, questions);
  server.look();
  await bases.start();
}

start().catch(tell);
