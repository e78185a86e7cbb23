// Speaks to the server that this page came from. Knows no element of the page.

import { apiKey } from "./settings.js";

/** The server answered, and said no. */
export class Refused extends Error {
  constructor(status, told, retryMs) {
    super(told.message);
    this.status = status;
    this.code = told.code ?? "";
    this.told = told;
    this.retryMs = retryMs;
    const place = /\[(\d+)\]/.exec(told.param ?? "");
    this.index = place ? Number(place[1]) : null; // the text that is to blame
  }

  get passes() {
    return this.status === 429 || this.status === 503;
  }

  /** What to say of it: the name of a sentence, and what it needs. */
  get words() {
    if (this.code === "permission_denied") return ["forbidden", {}];
    return ["trouble", { reason: this.message }];
  }
}

/** Whether what we know of the server is no longer so: its model, or whether it wants a key. */
export function isOutdated(error) {
  return error.code === "fingerprint_mismatch" || error.status === 401;
}

/** Nobody answered. */
export class Gone extends Error {}

const RETRY_MS = 1000;

/** One request; JSON in, `{ body, headers }` out. */
export async function ask(path, { body, bulk = false, signal } = {}) {
  const headers = { accept: "application/json" };
  if (apiKey()) headers.authorization = `Bearer ${apiKey()}`;
  if (body) {
    headers["content-type"] = "application/json";
    headers["x-qwire-class"] = bulk ? "bulk" : "interactive";
  }
  const method = body ? "POST" : "GET";
  let reply, text;
  try {
    reply = await fetch(path, { method, headers, body: body && JSON.stringify(body), signal });
    text = await reply.text();
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new Gone("the server does not answer");
  }
  const parsed = parsedJson(text);
  if (!reply.ok) throw new Refused(reply.status, told(parsed, reply.status), retryMs(reply.headers));
  if (parsed === null) throw new Refused(reply.status, { message: "the answer is not JSON" });
  return { body: parsed, headers: reply.headers };
}

/** How the server is: ready, loading or draining, and why. */
export async function health() {
  try {
    return (await ask("health/ready")).body;
  } catch (error) {
    if (error instanceof Refused && error.status === 503) return { status: "loading", reason: "", ...error.told.body };
    throw error;
  }
}

export async function models() {
  return (await ask("v1/models")).body.data;
}

/** Vectors of texts, each a Float32Array of length 1, and what they took. */
export async function embed(texts, { query = false, instruction, fingerprint, bulk, signal }) {
  const body = {
    input: texts,
    input_type: query ? "query" : "document",
    encoding_format: "base64",
    expected_fingerprint: fingerprint ?? undefined,
    instruction: instruction ?? undefined,
  };
  const answer = await ask("v1/embeddings", { body, bulk, signal });
  const { data, usage, model } = answer.body;
  return {
    vectors: data.map((row) => floats(row.embedding)),
    usage,
    model,
    fingerprint: answer.body.fingerprint,
    timing: timing(answer.headers.get("server-timing") ?? ""),
  };
}

/** `{ index, score }` of documents, the best first. */
export async function rerank(query, documents, { model, instruction, signal }) {
  const body = { model, query, documents, instruction: instruction ?? undefined };
  const answer = await ask("v1/rerank", { body, signal });
  return answer.body.results.map((one) => ({ index: one.index, score: one.relevance_score }));
}

/** Try until it works: while the server is busy wait as long as it says, while it is gone, until it is back. */
export async function patiently(work, { signal, waiting, back }) {
  for (;;) {
    signal?.throwIfAborted();
    try {
      return await work();
    } catch (error) {
      if (error instanceof Gone) await back(signal);
      else if (error instanceof Refused && error.passes) {
        waiting?.(error);
        await pause(error.retryMs ?? RETRY_MS, signal);
      } else throw error;
    }
  }
}

export function pause(ms, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, ms);
    signal?.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(signal.reason);
    }, { once: true });
  });
}

/** Milliseconds by name, from a Server-Timing header. */
export function timing(header) {
  const found = {};
  for (const part of header.split(",")) {
    const match = /^\s*([\w-]+)\s*;.*\bdur=([\d.]+)/.exec(part);
    if (match) found[match[1]] = Number(match[2]);
  }
  return found;
}

/** Little-endian float32, in base64. */
export function floats(text) {
  const binary = atob(text);
  const bytes = Uint8Array.from(binary, (character) => character.charCodeAt(0));
  return new Float32Array(bytes.buffer);
}

function parsedJson(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

function told(body, status) {
  if (body?.error?.message) return body.error;
  return { message: body?.message ?? body?.reason ?? `status ${status}`, code: body?.code, body };
}

function retryMs(headers) {
  const ms = Number(headers.get("retry-after-ms"));
  if (ms > 0) return ms;
  const seconds = Number(headers.get("retry-after"));
  return seconds > 0 ? seconds * 1000 : null;
}
