// What the page knows, in one place; whoever shows a part of it is told when it changes.

export class State {
  #values;
  #watchers = [];
  #told = false;

  constructor(values) {
    this.#values = { ...values };
  }

  get(name) {
    return this.#values[name];
  }

  /** Change some values; watchers run once, after the current task's changes. */
  set(changes) {
    Object.assign(this.#values, changes);
    if (this.#told) return;
    this.#told = true;
    queueMicrotask(() => {
      this.#told = false;
      for (const watcher of this.#watchers) watcher();
    });
  }

  /** Run now, and after each change. */
  watch(watcher) {
    this.#watchers.push(watcher);
    watcher();
  }
}
