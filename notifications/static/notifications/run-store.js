// @ts-check
/** What the page knows of runs, those of other threads too. Forgets ended runs that nobody has looked at for long. */
import { RunState } from "./run-state.js";

const MOST_RUNS = 300;

export class RunStore {
  /** @type {Map<string, RunState>} by run_id */
  #runs = new Map();
  #onForget;

  /** @param {(runId: string) => void} onForget */
  constructor(onForget) {
    this.#onForget = onForget;
  }

  /** @param {string} runId */
  get(runId) {
    return this.#runs.get(runId);
  }

  /** @param {string} runId @param {string} agentName */
  ensure(runId, agentName) {
    let state = this.#runs.get(runId);
    if (!state) {
      state = new RunState({ agentName });
      state.runId = runId;
      this.put(state);
    }
    return state;
  }

  /** @param {RunState} state one that has a run_id */
  put(state) {
    this.#runs.set(/** @type {string} */ (state.runId), state);
  }

  /** @param {string} runId */
  delete(runId) {
    this.#runs.delete(runId);
  }

  /** @param {string | null} threadId @returns {RunState[]} oldest first: ids sort by time */
  ofThread(threadId) {
    const runs = [...this.#runs.values()].filter((state) => threadId !== null && state.threadId === threadId);
    return runs.sort((a, b) => (String(a.runId) < String(b.runId) ? -1 : 1));
  }

  /** @param {string | null} threadId whose runs stay */
  forgetAllBut(threadId) {
    const ended = [...this.#runs].filter(([, state]) => !state.isLive && state.threadId !== threadId);
    for (const [runId] of ended.slice(0, Math.max(0, this.#runs.size - MOST_RUNS))) {
      this.#runs.delete(runId);
      this.#onForget(runId);
    }
  }
}
