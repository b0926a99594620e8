// @ts-check
/**
 * Messages on their way to the server. Each has its request_id from the moment it is written, and is kept by the tab until
 * the server has answered: sent again after a reload or a lost connection, it is still one run.
 *
 * @import {NetraClient, NetraError} from "./netra-client.js"
 * @import {TabMemory} from "./tab-memory.js"
 * @typedef {{requestId: string, conversation: string, threadId: string | null, agent: string, message: string,
 *   params?: Record<string, unknown>, paramsOf?: string}} Letter  conversation: the page's name for the thread-to-be;
 *   paramsOf: the run that has the params, of which those here are what this page was told
 * @typedef {{onAccepted: (letter: Letter, frame: any) => void, onRefused: (letter: Letter, error: NetraError) => void,
 *   onWaiting: (letter: Letter, error: NetraError) => void}} Outcomes
 */

/** The server could not look at it; the same message again is the same run. */
const LATER = new Set(["not_ready", "rate_limited"]);
/** The page is done for, not the message: it goes out when somebody is signed in again. */
const KEPT = new Set(["session_ended", "closed", "protocol_error"]);
const PATIENCE_S = 2;

export class Outbox {
  #client;
  #memory;
  #outcomes;
  /** @type {Letter[]} */
  letters;
  /** @type {Set<string>} */
  #underWay = new Set();

  /** @param {NetraClient} client @param {TabMemory} memory @param {Outcomes} outcomes */
  constructor(client, memory, outcomes) {
    this.#client = client;
    this.#memory = memory;
    this.#outcomes = outcomes;
    this.letters = /** @type {Letter[]} */ (memory.read("outbox", []));
  }

  /** @param {Letter} letter */
  post(letter) {
    this.letters.push(letter);
    this.#keep();
    this.send();
  }

  /** Of a conversation without a thread only the first may go: the others need the thread that it makes. */
  send() {
    /** @type {Set<string>} */
    const opening = new Set();
    for (const letter of this.letters) {
      const waits = letter.threadId === null && opening.has(letter.conversation);
      if (letter.threadId === null) opening.add(letter.conversation);
      if (!waits && !this.#underWay.has(letter.requestId)) this.#send(letter);
    }
  }

  /** @param {Letter} letter */
  async #send(letter) {
    const { requestId, agent, message, paramsOf, threadId } = letter;
    const params = paramsOf ? undefined : letter.params;
    this.#underWay.add(requestId);
    try {
      const frame = await this.#client.startAgent({ requestId, agent, message, params, paramsOf, threadId: threadId ?? undefined });
      for (const each of this.letters) if (each.conversation === letter.conversation) each.threadId ??= frame.thread_id;
      this.#done(letter);
      this.#outcomes.onAccepted(letter, frame);
    } catch (error) {
      this.#failed(letter, /** @type {NetraError} */ (error));
    }
    this.send();
  }

  /** @param {Letter} letter @param {NetraError} error */
  #failed(letter, error) {
    if (KEPT.has(error.code)) return; // still under way: this page sends it no more
    if (!LATER.has(error.code)) {
      this.#done(letter);
      return this.#outcomes.onRefused(letter, error);
    }
    this.#outcomes.onWaiting(letter, error);
    setTimeout(() => {
      this.#underWay.delete(letter.requestId);
      this.send();
    }, (error.frame.retry_after ?? PATIENCE_S) * 1000);
  }

  /** @param {Letter} letter */
  #done(letter) {
    this.#underWay.delete(letter.requestId);
    this.letters = this.letters.filter((each) => each !== letter);
    this.#keep();
  }

  #keep() {
    this.#memory.write("outbox", this.letters.length ? this.letters : null);
  }
}
