// @ts-check
/** What a reload must not lose: this tab's thread and its latest runs. Ids only, kept by the tab, per user. */

const MOST_RUNS = 10;

export class PageMemory {
  #key;
  /** @type {{threadId: string | null, runIds: string[]}} */
  #kept;

  /** @param {string} userId */
  constructor(userId) {
    this.#key = `netra:${userId}`;
    this.#kept = { threadId: null, runIds: [], ...JSON.parse(sessionStorage.getItem(this.#key) ?? "{}") };
  }

  get threadId() {
    return this.#kept.threadId;
  }

  get runIds() {
    return this.#kept.runIds;
  }

  /** @param {string} threadId @param {string} runId */
  remember(threadId, runId) {
    const runIds = threadId === this.threadId ? this.runIds : [];
    this.#keep(threadId, [...runIds.filter((each) => each !== runId), runId].slice(-MOST_RUNS));
  }

  /** @param {string} runId */
  forget(runId) {
    this.#keep(this.threadId, this.runIds.filter((each) => each !== runId));
  }

  newThread() {
    this.#keep(null, []);
  }

  /** @param {string | null} threadId @param {string[]} runIds */
  #keep(threadId, runIds) {
    this.#kept = { threadId, runIds };
    sessionStorage.setItem(this.#key, JSON.stringify(this.#kept));
  }
}
