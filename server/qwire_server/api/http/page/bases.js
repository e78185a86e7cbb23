// The knowledge bases: which there are, which is open, its vectors, and indexing it.

import { Refused, isOutdated } from "./api.js";
import { index } from "./indexing.js";
import { remember, remembered } from "./settings.js";
import { SAMPLES, sample } from "./samples.js";

export class Bases {
  #state;
  #store;
  #server;
  #abort = null;

  constructor(state, store, server) {
    this.#state = state;
    this.#store = store;
    this.#server = server;
  }

  /** Show what was kept, and open what was open; the first time, the sample of the language. */
  async start() {
    const bases = await this.#store.bases();
    this.#state.set({ bases });
    const last = remembered("base", null);
    const known = bases.some((base) => base.id === last) || SAMPLES.some((one) => one.id === last);
    await this.open(known ? last : this.#firstSample());
  }

  /** Open a base, a sample too; a sample is indexed at once. */
  async open(id) {
    await this.cancel();
    let base = this.#state.get("bases").find((one) => one.id === id);
    if (!base) {
      base = fresh({ id, ...(await sample(id)) });
      await this.#store.put(base);
      this.#state.set({ bases: [...this.#state.get("bases"), base] });
    }
    remember("base", id);
    this.#state.set({ base, rows: await this.#store.rows(base), asked: null, notice: null });
    if (base.sample && base.indexed < base.texts.length) await this.index();
  }

  /** A new base of these entries; indexed at once. */
  async add(name, texts) {
    const base = fresh({ id: crypto.randomUUID?.() ?? `base-${Date.now()}`, name, texts });
    await this.#store.put(base);
    this.#state.set({ bases: [...this.#state.get("bases"), base] });
    await this.open(base.id);
    await this.index();
  }

  async remove(id) {
    if (this.#state.get("base")?.id === id) await this.open(this.#firstSample());
    await this.#store.remove(id);
    this.#state.set({ bases: this.#state.get("bases").filter((base) => base.id !== id) });
  }

  /** Index what is missing of the open base. */
  async index() {
    const { base, served } = this.#now();
    if (this.#abort || base.indexed === base.texts.length) return;
    const abort = this.#abort = new AbortController();
    this.#tell({ base: base.id, began: performance.now(), first: base.indexed, wait: !served });
    try {
      if (!served) await this.#server.ready(abort.signal);
      await this.#run(base, abort.signal);
    } catch (error) {
      if (!abort.signal.aborted) await this.#failed(error);
    } finally {
      if (this.#abort === abort) this.#abort = null;
      this.#state.set({ indexing: null, bases: [...this.#state.get("bases")] });
    }
  }

  /** Stop indexing; what is done is kept. */
  async cancel() {
    this.#abort?.abort();
    this.#abort = null;
    this.#state.set({ indexing: null });
  }

  /** Forget the vectors of the open base, and make them anew with the model of now. */
  async again() {
    await this.cancel();
    const base = Object.assign(this.#state.get("base"), fresh(this.#state.get("base")));
    await this.#store.reset(base);
    this.#state.set({ rows: [], asked: null, notice: null });
    await this.index();
  }

  async #run(base, signal) {
    const { served } = this.#now();
    base.dimensions ??= served.dimensions;
    await index(base, {
      mostTexts: served.max_texts,
      store: this.#store,
      signal,
      grown: (vectors) => {
        if (this.#state.get("base") !== base) return;
        this.#state.set({ rows: [...this.#state.get("rows"), ...vectors] });
        this.#tell({ wait: false });
      },
      waiting: () => {
        this.#tell({ wait: true });
        this.#server.look();
      },
      back: (gone) => {
        this.#tell({ wait: true });
        return this.#server.back(gone);
      },
    });
  }

  async #failed(error) {
    if (!(error instanceof Refused)) throw error;
    if (isOutdated(error)) await this.#server.again();
    else this.#state.set({ notice: error.words });
  }

  #now() {
    const { phase, embedder } = this.#state.get("server");
    return { base: this.#state.get("base"), served: phase === "ready" ? embedder : null };
  }

  #tell(changes) {
    this.#state.set({ indexing: { ...this.#state.get("indexing"), ...changes } });
  }

  #firstSample() {
    return SAMPLES.find((one) => one.lang === this.#state.get("lang")).id;
  }
}

/** Whether the vectors of a base are of another model than the server's. */
export function isStale(base, server) {
  const now = server.embedder?.fingerprint;
  return Boolean(base?.fingerprint && now && base.fingerprint !== now);
}

/** A base without vectors. */
function fresh({ id, name, lang = null, sample: isSample = false, texts, questions = [], created = Date.now() }) {
  return {
    id, name, lang, sample: isSample, texts, questions, created,
    fingerprint: null, model: null, dimensions: null, indexed: 0, tokens: 0, cut: 0, failed: {},
  };
}
