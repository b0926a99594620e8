// @ts-check
/** What this tab must not lose by a reload. Kept by the tab, per user; a tab that may keep nothing goes on without. */

export class TabMemory {
  #prefix;

  /** @param {string} userId */
  constructor(userId) {
    this.#prefix = `netra:${userId}:`;
  }

  /** @template T @param {string} name @param {T} otherwise @returns {T} */
  read(name, otherwise) {
    try {
      return JSON.parse(sessionStorage.getItem(this.#prefix + name) ?? "null") ?? otherwise;
    } catch {
      return otherwise;
    }
  }

  /** @param {string} name @param {unknown} value null: forget it */
  write(name, value) {
    try {
      if (value === null) sessionStorage.removeItem(this.#prefix + name);
      else sessionStorage.setItem(this.#prefix + name, JSON.stringify(value));
    } catch {
      // Storage is full or forbidden: a reload will lose this much.
    }
  }
}
