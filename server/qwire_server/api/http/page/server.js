// How the server is, and what it serves: asked now and then, and when it does not answer.

import { Gone, Refused, health, models } from "./api.js";
import { apiKey } from "./settings.js";

const CALM_MS = 5000;
const ANXIOUS_MS = 1000;
const LOCKED = ["locked", "wrongKey", "forbidden"];

export class Server {
  #state;
  #timer = 0;
  #waiters = new Set();

  constructor(state) {
    this.#state = state;
  }

  /** Look now, and from now on. */
  look() {
    clearTimeout(this.#timer);
    this.#timer = -1;
    this.#seen().then(() => {
      if (this.#timer !== -1) return; // somebody looked meanwhile
      this.#timer = setTimeout(() => this.look(), this.#isReady() ? CALM_MS : ANXIOUS_MS);
    });
  }

  /** A request failed because nobody answered: say so, and return when somebody does. */
  back(signal) {
    this.#state.set({ server: { ...this.#state.get("server"), phase: "gone" } });
    this.look();
    return this.#until(signal);
  }

  /** Return when there is a model. */
  ready(signal) {
    return this.#isReady() ? Promise.resolve() : this.#until(signal);
  }

  /** What serves may have changed, or our key: ask again. */
  async again() {
    this.#state.set({ server: { ...this.#state.get("server"), phase: "asking" } });
    await this.#seen();
  }

  async #seen() {
    try {
      const { status, reason } = await health();
      if (status !== "ready") return this.#tell({ phase: status, reason });
      if (LOCKED.includes(this.#state.get("server").phase)) return; // until there is another key
      if (!this.#isReady()) this.#tell({ phase: "ready", reason: "", ...byTask(await models()) });
      for (const resolve of this.#waiters) resolve();
      this.#waiters.clear();
    } catch (error) {
      if (error instanceof Gone) this.#tell({ phase: "gone", reason: "" });
      else if (error instanceof Refused) {
        this.#tell({ phase: refusal(error), reason: error.message });
      } else throw error;
    }
  }

  #until(signal) {
    return new Promise((resolve, reject) => {
      this.#waiters.add(resolve);
      signal?.addEventListener("abort", () => reject(signal.reason), { once: true });
    });
  }

  #isReady() {
    return this.#state.get("server").phase === "ready";
  }

  #tell(seen) {
    const before = this.#state.get("server");
    if (before.phase === seen.phase && before.reason === seen.reason) return;
    this.#state.set({ server: { ...before, ...seen } });
  }
}

function refusal(error) {
  if (error.status === 401) return apiKey() ? "wrongKey" : "locked";
  return error.code === "permission_denied" ? "forbidden" : "failed";
}

function byTask(served) {
  const of = (task) => served.find((model) => model.task === task) ?? null;
  return { embedder: of("embed"), reranker: of("rerank") };
}
