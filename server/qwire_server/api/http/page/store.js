// Knowledge bases and their vectors in this browser (IndexedDB). Nothing of them is kept elsewhere.

const NAME = "qwire";
const VERSION = 1;

export class Store {
  #database;

  static async open() {
    const store = new Store();
    store.#database = await opened();
    return store;
  }

  /** All bases, the oldest first. */
  async bases() {
    const bases = await done(this.#in("readonly", "bases").objectStore("bases").getAll());
    return bases.sort((a, b) => a.created - b.created);
  }

  /** A base, without vectors. */
  async put(base) {
    const change = this.#in("readwrite", "bases");
    change.objectStore("bases").put(base);
    await ended(change);
  }

  /** A base and the vectors that it got, both or neither. */
  async grow(base, first, vectors) {
    const change = this.#in("readwrite", "bases", "chunks");
    change.objectStore("bases").put(base);
    change.objectStore("chunks").put({ base: base.id, first, data: joined(vectors) });
    await ended(change);
  }

  /** The rows of a base, in the order of its texts. */
  async rows(base) {
    if (!base.dimensions) return [];
    const chunks = this.#in("readonly", "chunks").objectStore("chunks");
    const found = await done(chunks.getAll(ofBase(base.id)));
    return found.flatMap((chunk) => parted(chunk.data, base.dimensions)).slice(0, base.indexed);
  }

  /** A base without its vectors: they are forgotten. */
  async reset(base) {
    const change = this.#in("readwrite", "bases", "chunks");
    change.objectStore("bases").put(base);
    change.objectStore("chunks").delete(ofBase(base.id));
    await ended(change);
  }

  async remove(id) {
    const change = this.#in("readwrite", "bases", "chunks");
    change.objectStore("bases").delete(id);
    change.objectStore("chunks").delete(ofBase(id));
    await ended(change);
  }

  #in(mode, ...stores) {
    return this.#database.transaction(stores, mode);
  }
}

function opened() {
  const request = indexedDB.open(NAME, VERSION);
  request.onupgradeneeded = () => {
    request.result.createObjectStore("bases", { keyPath: "id" });
    request.result.createObjectStore("chunks", { keyPath: ["base", "first"] });
  };
  return done(request);
}

function ofBase(id) {
  return IDBKeyRange.bound([id, 0], [id, Infinity]);
}

function done(request) {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

function ended(transaction) {
  return new Promise((resolve, reject) => {
    transaction.oncomplete = () => resolve();
    transaction.onabort = () => reject(transaction.error);
  });
}

function joined(vectors) {
  const data = new Float32Array(vectors.length * (vectors[0]?.length ?? 0));
  vectors.forEach((vector, i) => data.set(vector, i * vector.length));
  return data;
}

function parted(data, dimensions) {
  const rows = [];
  for (let at = 0; at < data.length; at += dimensions) rows.push(data.subarray(at, at + dimensions));
  return rows;
}
