// Questions: their vector, the entries nearest to it, and a reranker's opinion of them.

import { Refused, embed, isOutdated, patiently, rerank } from "./api.js";
import { isStale } from "./bases.js";
import { candidates, nearest, reordered } from "./ranking.js";

export class Questions {
  #state;
  #server;
  #abort = new AbortController();

  constructor(state, server) {
    this.#state = state;
    this.#server = server;
  }

  /** Ask; a question before it is given up. */
  async ask(text) {
    this.#abort.abort();
    if (!text.trim() || isStale(this.#state.get("base"), this.#state.get("server"))) return;
    const abort = this.#abort = new AbortController();
    this.#state.set({ asking: text, trouble: null });
    try {
      const asked = await this.#vectorOf(text, abort.signal);
      this.#state.set({ asked, reranked: null });
      await this.rerank();
    } catch (error) {
      if (!abort.signal.aborted) await this.#failed(error);
    } finally {
      if (this.#abort === abort) this.#state.set({ asking: null });
    }
  }

  /** Let the reranker order what was found, if that is wanted and not done yet. */
  async rerank() {
    const { reranker } = this.#state.get("server");
    const found = this.#found(candidates(this.#state.get("topK")));
    if (!this.#state.get("rerank") || !reranker || !found.length) return;
    const asked = this.#state.get("asked"), key = found.map((one) => one.index).join();
    if (this.#state.get("reranked")?.key === key) return;
    const { texts } = this.#state.get("base");
    const signal = this.#abort.signal;
    this.#state.set({ reranking: true });
    try {
      const began = performance.now();
      const documents = found.map((one) => texts[one.index]);
      const instruction = reranker.instructions ? asked.instruction : null;
      const scores = await this.#patiently(
        () => rerank(asked.text, documents, { model: reranker.id, instruction, signal }), signal,
      );
      const order = reordered(found, scores);
      if (this.#state.get("asked") !== asked) return;
      this.#state.set({ reranked: { key, order, ms: performance.now() - began } });
    } catch (error) {
      if (!signal.aborted) await this.#failed(error);
    } finally {
      this.#state.set({ reranking: false });
    }
  }

  /** What is to be shown now: `{ index, score, cosine, before? }`, the best first. */
  results() {
    const topK = this.#state.get("topK");
    const reranked = this.#state.get("rerank") && this.#state.get("reranked");
    if (reranked) return reranked.order.slice(0, topK);
    return this.#found(topK).map((one) => ({ ...one, score: one.cosine }));
  }

  #found(most) {
    const asked = this.#state.get("asked"), base = this.#state.get("base");
    const rows = this.#state.get("rows");
    if (!asked || !rows.length) return [];
    const dimensions = this.#state.get("dimensions") ?? asked.vector.length;
    return nearest({ vector: asked.vector, rows, dimensions, failed: base.failed, most });
  }

  async #vectorOf(text, signal) {
    await this.#server.ready(signal); // only then is it known whether it takes an instruction
    const { embedder } = this.#state.get("server");
    const instruction = embedder?.instructions ? this.#state.get("instruction") : null;
    const began = performance.now();
    const answer = await this.#patiently(() => embed([text], {
      query: true,
      instruction,
      fingerprint: this.#state.get("base").fingerprint,
      signal,
    }), signal);
    const ms = performance.now() - began;
    const { usage, timing } = answer;
    return { text, instruction, vector: answer.vectors[0], usage, timing, ms };
  }

  #patiently(work, signal) {
    return patiently(work, {
      signal,
      waiting: () => this.#server.look(),
      back: (gone) => this.#server.back(gone),
    });
  }

  async #failed(error) {
    if (!(error instanceof Refused)) throw error;
    if (isOutdated(error)) await this.#server.again();
    else this.#state.set({ trouble: error.words });
  }
}
