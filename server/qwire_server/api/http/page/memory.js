// Stands in for the store where the browser keeps nothing: lasts as long as the page.

export class Memory {
  #bases = new Map();
  #rows = new Map();

  async bases() {
    return [...this.#bases.values()];
  }

  async put(base) {
    this.#bases.set(base.id, base);
  }

  async grow(base, first, vectors) {
    await this.put(base);
    this.#rows.set(base.id, [...(await this.rows(base)).slice(0, first), ...vectors]);
  }

  async rows(base) {
    return this.#rows.get(base.id) ?? [];
  }

  async reset(base) {
    await this.put(base);
    this.#rows.delete(base.id);
  }

  async remove(id) {
    this.#bases.delete(id);
    this.#rows.delete(id);
  }
}
