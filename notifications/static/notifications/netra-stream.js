// @ts-check
/**
 * One run's events as an async iterator with a cursor of its own: it may start behind what its client already has.
 *
 * @import {Frame} from "./netra-cursors.js"
 */
import { isEvent, isLast } from "./netra-cursors.js";

/** @implements {AsyncIterableIterator<Frame>} */
export class EventStream {
  /** @type {Frame[]} */
  #queue = [];
  #taken = 0;
  #ended = false;
  /** @type {Error | null} */
  #error = null;
  /** @type {(() => void) | null} */
  #wake = null;
  #onEnd;

  /** @param {string} runId @param {number} after @param {() => void} onEnd */
  constructor(runId, after, onEnd) {
    this.runId = runId;
    this.cursor = after;
    this.#onEnd = onEnd;
  }

  /** @param {Frame} frame one of any run; only the next of this one is taken */
  push(frame) {
    if (this.#ended || frame.run_id !== this.runId) return;
    const isNext = isEvent(frame) ? frame.seq === this.cursor + 1 : frame.missed_to > this.cursor;
    if (!isNext) return;
    this.cursor = isEvent(frame) ? frame.seq : frame.missed_to;
    this.#queue.push(frame);
    if (isLast(frame)) this.#end();
    this.#wake?.();
  }

  /** @param {Error} error thrown to the reader, after what has arrived */
  fail(error) {
    if (this.#ended) return;
    this.#error = error;
    this.#end();
    this.#wake?.();
  }

  /** @returns {Promise<IteratorResult<Frame>>} */
  async next() {
    while (this.#taken === this.#queue.length && !this.#ended) {
      await new Promise((resolve) => (this.#wake = () => resolve(undefined)));
    }
    if (this.#taken < this.#queue.length) return { value: this.#take(), done: false };
    const error = this.#error;
    this.#error = null;
    if (error) throw error;
    return { value: undefined, done: true };
  }

  async return() {
    this.#queue = [];
    this.#taken = 0;
    this.#end();
    return { value: undefined, done: /** @type {const} */ (true) };
  }

  [Symbol.asyncIterator]() {
    return this;
  }

  #take() {
    const frame = this.#queue[this.#taken++];
    if (this.#taken === this.#queue.length || this.#taken > 1000) {
      this.#queue.splice(0, this.#taken);
      this.#taken = 0;
    }
    return frame;
  }

  #end() {
    this.#ended = true;
    this.#onEnd();
  }
}
