// @ts-check
/**
 * Netra's client, protocol version 1. No dependencies, no DOM: browsers, workers, Node 22 and newer.
 *
 *   const client = new NetraClient({ url: "wss://example.org/ws/" }).open();
 *   const { run_id } = await client.startAgent({ agent: "analyst", message: "What sells best?" });
 *   for await (const event of client.events(run_id)) console.log(event.type, event.data);
 *
 * Every event of every run of the user arrives once and in order, across reconnects.
 *
 * @import {Frame, RunEvent} from "./netra-cursors.js"
 * @import {Address, Clock} from "./netra-connection.js"
 * @typedef {"connecting" | "live" | "catching_up" | "offline"} ConnectionState
 * @typedef {{state: ConnectionState, since: number | null, retryAt: number | null, behind: number,
 *   ended: "session_ended" | "protocol_error" | "closed" | null}} Connectedness
 *   since and retryAt in ms of the clock; behind counts known events that are not here yet; ended: it will not come back
 * @typedef {{agent: string, message: string, threadId?: string, params?: Record<string, unknown>, paramsOf?: string,
 *   timeout?: number, onBusy?: "enqueue" | "reject" | "interrupt", requestId?: string}} Start
 *   paramsOf: a run of the user's whose params it takes; they are told without their secrets
 * @typedef {{frame: Frame, resolve: (frame: Frame) => void, reject: (error: NetraError) => void}} Request
 */
import { Connection, FATAL, realClock } from "./netra-connection.js";
import { Cursors, GONE, isEvent } from "./netra-cursors.js";
import { EventStream } from "./netra-stream.js";

export const MAX_FRAME_BYTES = 65_536;
const ACK_AFTER_MS = 200;
const ACK_AFTER_EVENTS = 200;

/** An `error` frame, or the client's own refusal in the same words. */
export class NetraError extends Error {
  /** @param {Frame} frame */
  constructor(frame) {
    super(frame.message ?? frame.code);
    this.name = "NetraError";
    this.code = /** @type {string} */ (frame.code);
    this.frame = frame;
  }
}

/** @returns {string} also where crypto.randomUUID is missing: on plain http it is */
export function newRequestId() {
  const bytes = globalThis.crypto.getRandomValues(new Uint8Array(16));
  return `req_${Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("")}`;
}

/** @param {Frame} frame */
export const frameBytes = (frame) => new TextEncoder().encode(JSON.stringify(frame)).length;

/** The frame that starts a run. @param {Start & {requestId: string}} start @returns {Frame} */
export function startFrame({ agent, message, threadId, params, paramsOf, timeout, onBusy, requestId }) {
  const optional = { thread_id: threadId, params, params_of: paramsOf, timeout, on_busy: onBusy };
  const given = Object.entries(optional).filter(([, value]) => value !== undefined);
  return { type: "start_agent", request_id: requestId, agent, message, ...Object.fromEntries(given) };
}

/** An error names what it answers by its first of these ids, which is the request's first too. */
const ANSWERED_BY = ["request_id", "approval_id", "run_id"];

/** @param {Frame} error @param {Frame} request */
function answers(error, request) {
  const named = ANSWERED_BY.find((name) => error[name]);
  return named !== undefined && named === ANSWERED_BY.find((name) => request[name]) && error[named] === request[named];
}

/** `/ws/` of the page's own host. */
function ownAddress() {
  const url = new URL("/ws/", globalThis.location.href);
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  return url.href;
}

export class NetraClient {
  /** Server time minus this machine's, in ms. */
  clockOffset = 0;

  #clock;
  #connection;
  #cursors = new Cursors();
  /** @type {Map<string, Request>} unanswered, in the order they were made; sent again after a reconnect */
  #requests = new Map();
  /** @type {Set<EventStream>} */
  #streams = new Set();
  /** @type {Map<string, Set<(value: any) => void>>} */
  #listeners = new Map();
  /** @type {any} */
  #ackTimer = null;
  #lastConnectedness = "";

  /**
   * @param {{url?: Address, WebSocket?: typeof globalThis.WebSocket, clock?: Clock, random?: () => number}} [options]
   *   url: an address, or a function asked for one before every attempt; the page's own host if absent
   */
  constructor({ url, WebSocket = globalThis.WebSocket, clock = realClock, random = Math.random } = {}) {
    this.#clock = clock;
    this.#connection = new Connection({
      address: url ?? ownAddress,
      onFrame: (frame) => this.#receive(frame),
      onStatus: () => this.#connectionChanged(),
      WebSocket,
      clock,
      random,
    });
  }

  /** @returns {this} */
  open() {
    this.#connection.open();
    return this;
  }

  close() {
    this.#connection.close();
  }

  /** @returns {Connectedness} */
  get connection() {
    const { status, failures, downSince, retryAt, fatalCode } = this.#connection;
    const ended = status === "stopped" ? ((fatalCode && FATAL.get(fatalCode)) ?? "closed") : null;
    return {
      state: this.#state(status, failures),
      since: downSince,
      retryAt,
      behind: this.#cursors.behind,
      ended: /** @type {Connectedness["ended"]} */ (ended),
    };
  }

  /** Called now and at every change. @param {(connection: Connectedness) => void} call @returns {() => void} */
  onConnection(call) {
    call(this.connection);
    return this.#listen("connection", call);
  }

  /** Every new event, and every gap, of every run. @param {(event: any) => void} call @returns {() => void} */
  onEvent(call) {
    return this.#listen("event", call);
  }

  /** Errors that answer no request of this client. @param {(error: NetraError) => void} call @returns {() => void} */
  onError(call) {
    return this.#listen("error", call);
  }

  /** Live runs, as the server lists them at each connect. @param {(runs: any[]) => void} call @returns {() => void} */
  onRuns(call) {
    return this.#listen("runs", call);
  }

  /**
   * Starts a run, now or when the connection is back, once however often it is sent.
   * @param {Start} start @returns {Promise<Frame>} run_accepted; rejects with a NetraError
   */
  startAgent(start) {
    const frame = startFrame({ ...start, requestId: start.requestId ?? newRequestId() });
    if (frameBytes(frame) > MAX_FRAME_BYTES) {
      const message = `The message is larger than ${MAX_FRAME_BYTES} bytes.`;
      return Promise.reject(new NetraError({ type: "error", code: "message_too_large", message }));
    }
    return this.#request(`start_agent ${frame.request_id}`, frame);
  }

  /** @param {string} runId @returns {Promise<Frame>} cancel_accepted; the run ends with its agent_completed */
  cancelRun(runId) {
    return this.#request(`cancel_run ${runId}`, { type: "cancel_run", run_id: runId });
  }

  /**
   * @param {{runId: string, approvalId: string, decision: "approve" | "reject",
   *   arguments?: Record<string, unknown>, comment?: string}} resolution
   * @returns {Promise<Frame>} approval_accepted
   */
  resolveApproval({ runId, approvalId, decision, arguments: changed, comment }) {
    const frame = { type: "resolve_approval", run_id: runId, approval_id: approvalId, decision };
    const optional = { ...(changed && { arguments: changed }), ...(comment && { comment }) };
    return this.#request(`resolve_approval ${approvalId}`, { ...frame, ...optional });
  }

  /**
   * The run's events from the first (or after `after`), until its agent_completed.
   * @param {string} runId @param {{after?: number}} [options] @returns {AsyncIterableIterator<any>}
   */
  events(runId, { after = 0 } = {}) {
    const stream = new EventStream(runId, after, () => this.#streams.delete(stream));
    this.#streams.add(stream);
    const place = this.#cursors.place(runId);
    const { ended } = this.connection;
    if (ended && this.#connection.status === "stopped") stream.fail(endedError(ended));
    else if (place?.ended && place.cursor <= after) stream.return();
    else if (this.#connection.status === "up" && (!place || place.cursor > after)) {
      this.#sendAll([this.#cursors.replay([runId])]);
      this.#connectionChanged();
    }
    return stream;
  }

  /** Brings these runs here, from where this client's cursors are. @param {string[]} runIds */
  follow(runIds) {
    this.#sendAll(this.#cursors.resume(runIds));
    this.#connectionChanged();
  }

  /** Takes a run's events up to `seq` as known: only what follows is brought. @param {string} runId @param {number} seq */
  skip(runId, seq) {
    this.#cursors.skip(runId, seq);
  }

  /** Lets go of an ended run; follow() would bring it from its first event again. @param {string} runId */
  forget(runId) {
    this.#cursors.forget(runId);
  }

  /** @param {Frame} frame */
  #receive(frame) {
    if (frame.type === "connection_established") this.clockOffset = Date.parse(frame.server_time) - this.#clock.now();
    if (isEvent(frame) || frame.type === "gap") for (const stream of this.#streams) stream.push(frame);
    const { events, send } = this.#cursors.receive(frame);
    this.#sendAll(send);
    if (frame.type === "connection_established") this.#established(frame);
    if (frame.type === "error") this.#failed(frame);
    else this.#answered(frame);
    for (const event of events) this.#tell("event", event);
    this.#acknowledge();
    this.#connectionChanged();
  }

  /** @param {Frame} frame */
  #established(frame) {
    const place = (/** @type {EventStream} */ { runId }) => this.#cursors.place(runId);
    const behind = [...this.#streams].filter((stream) => stream.cursor < (place(stream)?.cursor ?? Infinity));
    this.#sendAll(this.#cursors.resume(behind.map((stream) => stream.runId)));
    this.#sendAll([...this.#requests.values()].map((request) => request.frame));
    this.#tell("runs", frame.runs ?? []);
  }

  /** @param {Frame} frame */
  #answered(frame) {
    const key = {
      run_accepted: `start_agent ${frame.request_id}`,
      cancel_accepted: `cancel_run ${frame.run_id}`,
      approval_accepted: `resolve_approval ${frame.approval_id}`,
    }[frame.type];
    if (!key) return;
    this.#requests.get(key)?.resolve(frame);
    this.#requests.delete(key);
  }

  /** @param {Frame} frame */
  #failed(frame) {
    const error = new NetraError(frame);
    if (frame.retry_after && !frame.request_id) this.#connection.postpone(frame.retry_after);
    const requests = [...this.#requests].filter(([, request]) => answers(frame, request.frame));
    for (const [key, request] of requests) {
      this.#requests.delete(key);
      request.reject(error);
    }
    const streams = [...this.#streams].filter((stream) => stream.runId === frame.run_id);
    if (GONE.has(frame.code)) for (const stream of streams) stream.fail(error);
    if (!requests.length) this.#tell("error", error);
  }

  /** @param {string} key @param {Frame} frame @returns {Promise<Frame>} */
  #request(key, frame) {
    const { ended } = this.connection;
    if (ended && this.#connection.status === "stopped") return Promise.reject(endedError(ended));
    return new Promise((resolve, reject) => {
      this.#requests.set(key, { frame, resolve, reject });
      this.#connection.send(frame);
    });
  }

  /** A stream may be further back than the cursor: the run is then replayed from there. @param {Frame[]} frames */
  #sendAll(frames) {
    for (const frame of frames) {
      if (frame.type === "resume") {
        for (const { runId, cursor } of this.#streams) {
          if (runId in frame.cursors) frame.cursors[runId] = Math.min(frame.cursors[runId], cursor);
        }
      }
      this.#connection.send(frame);
    }
  }

  #acknowledge() {
    if (this.#cursors.unacknowledged >= ACK_AFTER_EVENTS) this.#acknowledgeNow();
    else if (this.#cursors.unacknowledged && this.#ackTimer === null) {
      this.#ackTimer = this.#clock.setTimeout(() => this.#acknowledgeNow(), ACK_AFTER_MS);
    }
  }

  #acknowledgeNow() {
    if (this.#ackTimer !== null) this.#clock.clearTimeout(this.#ackTimer);
    this.#ackTimer = null;
    if (this.#connection.status === "up") this.#sendAll(this.#cursors.acknowledge());
  }

  /** @param {Connection["status"]} status @param {number} failures @returns {ConnectionState} */
  #state(status, failures) {
    if (status === "up") return this.#cursors.catchingUp ? "catching_up" : "live";
    return failures || status === "stopped" ? "offline" : "connecting";
  }

  #connectionChanged() {
    const connection = this.connection;
    const { state, retryAt, behind, ended } = connection;
    const shown = JSON.stringify([state, retryAt, state === "catching_up" ? behind : 0, ended]);
    if (shown === this.#lastConnectedness) return;
    this.#lastConnectedness = shown;
    if (ended) this.#end(endedError(ended));
    this.#tell("connection", connection);
  }

  /** @param {NetraError} error */
  #end(error) {
    const requests = [...this.#requests.values()];
    this.#requests.clear();
    for (const { reject } of requests) reject(error);
    for (const stream of this.#streams) stream.fail(error);
  }

  /** @param {string} name @param {(value: any) => void} call @returns {() => void} */
  #listen(name, call) {
    const calls = this.#listeners.get(name) ?? new Set();
    this.#listeners.set(name, calls.add(call));
    return () => calls.delete(call);
  }

  /** @param {string} name @param {any} value */
  #tell(name, value) {
    for (const call of this.#listeners.get(name) ?? []) call(value);
  }
}

/** @param {string} ended */
function endedError(ended) {
  const messages = {
    session_ended: "Your session has ended. Sign in again.",
    protocol_error: "The server refused this client.",
    closed: "The connection was closed.",
  };
  return new NetraError({ type: "error", code: ended, message: messages[/** @type {keyof messages} */ (ended)] });
}
