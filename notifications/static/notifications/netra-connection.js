// @ts-check
/**
 * One WebSocket that comes back: full-jitter back-off, pings that find half-open connections, waking when the
 * network or the person returns. Knows nothing of runs.
 *
 * @import {Frame} from "./netra-cursors.js"
 * @typedef {"idle" | "connecting" | "up" | "waiting" | "stopped"} Status
 * @typedef {{now: () => number, setTimeout: (call: () => void, ms: number) => any, clearTimeout: (id: any) => void}} Clock
 * @typedef {string | (() => string | Promise<string>)} Address  a function is asked before every attempt (tickets)
 */

export const FATAL = new Map([
  [4400, "protocol_error"],
  [4401, "session_ended"],
]);

/** @type {Clock} */
export const realClock = {
  now: () => Date.now(),
  setTimeout: (call, ms) => globalThis.setTimeout(call, ms),
  clearTimeout: (id) => globalThis.clearTimeout(id),
};

export const LIMITS = {
  backoffFirstMs: 500,
  backoffMostMs: 8_000, // longer, and a run's fate would not be known within 10 s of the server's return
  pingEveryMs: 15_000,
  pongWithinMs: 10_000,
  establishedWithinMs: 10_000,
  probeWithinMs: 3_000,
};

export class Connection {
  /** @type {Status} */
  status = "idle";
  /** Attempts that failed since the connection was last up. */
  failures = 0;
  /** @type {number | null} when it was lost, in ms of the clock */
  downSince = null;
  /** @type {number | null} when the next attempt is made, in ms of the clock */
  retryAt = null;
  /** @type {number | null} the close code that stopped it for good */
  fatalCode = null;

  #address;
  #WebSocket;
  #clock;
  #random;
  #onFrame;
  #onStatus;
  /** @type {WebSocket | null} */
  #socket = null;
  #attempt = 0;
  #notBefore = 0;
  #pings = 0;
  /** @type {any} next attempt, or next ping */
  #timer = null;
  /** @type {any} what must have arrived by then */
  #deadline = null;
  /** @type {(() => void)[]} */
  #unlisten = [];

  /**
   * @param {{address: Address, onFrame: (frame: Frame) => void, onStatus: () => void,
   *   WebSocket: typeof globalThis.WebSocket, clock: Clock, random: () => number}} options
   */
  constructor({ address, onFrame, onStatus, WebSocket, clock, random }) {
    this.#address = address;
    this.#onFrame = onFrame;
    this.#onStatus = onStatus;
    this.#WebSocket = WebSocket;
    this.#clock = clock;
    this.#random = random;
  }

  open() {
    if (this.status !== "idle" && this.status !== "stopped") return;
    this.fatalCode = null;
    this.failures = 0;
    this.#listen();
    this.#connect();
  }

  /** For good, until open() is called again. */
  close() {
    this.#stop(null);
  }

  /** @param {Frame} frame @returns {boolean} whether it went out */
  send(frame) {
    if (this.status !== "up" || !this.#socket) return false;
    this.#socket.send(JSON.stringify(frame));
    return true;
  }

  /** The server asked for patience. @param {number} seconds */
  postpone(seconds) {
    this.#notBefore = this.#clock.now() + seconds * 1000;
  }

  async #connect() {
    const attempt = ++this.#attempt;
    this.#setStatus("connecting");
    this.#expect(LIMITS.establishedWithinMs);
    try {
      const url = typeof this.#address === "function" ? await this.#address() : this.#address;
      if (attempt !== this.#attempt) return;
      this.#attach(new this.#WebSocket(url));
    } catch {
      if (attempt === this.#attempt) this.#lost();
    }
  }

  /** @param {WebSocket} socket */
  #attach(socket) {
    this.#socket = socket;
    socket.onmessage = (message) => this.#receive(message.data);
    socket.onclose = (event) => (FATAL.has(event.code) ? this.#stop(event.code) : this.#lost());
  }

  /** @param {unknown} text */
  #receive(text) {
    if (this.status === "up") this.#expect(null);
    /** @type {any} */
    let frame;
    try {
      frame = JSON.parse(String(text));
    } catch {
      return;
    }
    if (!frame || typeof frame !== "object") return;
    if (frame.type === "connection_established") this.#established();
    this.#onFrame(frame);
  }

  #established() {
    this.#expect(null);
    this.failures = 0;
    this.downSince = this.retryAt = null;
    this.status = "up"; // the client hears of it with the frame, whose resume decides what state this is
    this.#pingLater();
  }

  #pingLater() {
    this.#after(LIMITS.pingEveryMs, () => {
      this.#ping(LIMITS.pongWithinMs);
      this.#pingLater();
    });
  }

  /** @param {number} withinMs */
  #ping(withinMs) {
    if (this.send({ type: "ping", id: `ping_${++this.#pings}` })) this.#expect(withinMs);
  }

  /** Something must arrive within that time, else the connection counts as lost. @param {number | null} ms */
  #expect(ms) {
    if (this.#deadline !== null) this.#clock.clearTimeout(this.#deadline);
    this.#deadline = ms === null ? null : this.#clock.setTimeout(() => this.#lost(), ms);
  }

  /** @param {number} ms @param {() => void} call */
  #after(ms, call) {
    if (this.#timer !== null) this.#clock.clearTimeout(this.#timer);
    this.#timer = this.#clock.setTimeout(call, ms);
  }

  #lost() {
    this.#detach();
    const now = this.#clock.now();
    const most = Math.min(LIMITS.backoffMostMs, LIMITS.backoffFirstMs * 2 ** this.failures);
    const delay = Math.max(this.#random() * most, this.#notBefore - now);
    this.failures += 1;
    this.downSince ??= now;
    this.retryAt = now + delay;
    this.#setStatus("waiting");
    this.#after(delay, () => this.#connect());
  }

  /** @param {number | null} code */
  #stop(code) {
    this.#detach();
    this.fatalCode = code;
    this.downSince ??= this.#clock.now();
    this.retryAt = null;
    for (const unlisten of this.#unlisten.splice(0)) unlisten();
    this.#setStatus("stopped");
  }

  /** Lets go of the socket at once: on a half-open one, close() alone would take minutes to be noticed. */
  #detach() {
    this.#attempt += 1;
    this.#expect(null);
    if (this.#timer !== null) this.#clock.clearTimeout(this.#timer);
    this.#timer = null;
    const socket = this.#socket;
    this.#socket = null;
    if (!socket) return;
    socket.onmessage = socket.onclose = null;
    socket.close();
  }

  #listen() {
    const wake = () => this.#wake();
    const onVisible = () => globalThis.document?.visibilityState === "visible" && this.#wake();
    this.#on(globalThis, "online", wake);
    this.#on(globalThis, "offline", () => this.#ping(LIMITS.probeWithinMs));
    this.#on(globalThis.document, "visibilitychange", onVisible);
  }

  /** @param {any} target @param {string} name @param {() => void} call */
  #on(target, name, call) {
    if (!target?.addEventListener) return;
    target.addEventListener(name, call);
    this.#unlisten.push(() => target.removeEventListener(name, call));
  }

  /** The network or the person is back: no reason to wait for the next attempt or the next ping. */
  #wake() {
    if (this.status === "up") this.#ping(LIMITS.pongWithinMs);
    else if (this.status === "waiting" && this.#clock.now() >= this.#notBefore) this.#after(0, () => this.#connect());
  }

  /** @param {Status} status */
  #setStatus(status) {
    this.status = status;
    this.#onStatus();
  }
}
