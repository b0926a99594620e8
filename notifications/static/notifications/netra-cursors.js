// @ts-check
/**
 * What a client has of each run, and what follows from a frame: which events are new, which frames to send.
 * Pure: no socket, no clock, no DOM.
 *
 * @typedef {{type: string, [field: string]: any}} Frame
 * @typedef {Frame & {run_id: string, thread_id: string, agent_name: string, seq: number, timestamp: string,
 *   parent_run_id?: string, data: Record<string, any>}} RunEvent
 * @typedef {{events: Frame[], send: Frame[]}} Outcome  events to show (and gaps), frames to send, both in order
 * @typedef {{cursor: number, head: number, ended: boolean}} Place
 */

const TERMINAL = new Set(["completed", "failed", "timed_out", "cancelled", "lost"]);

/** Error codes after which a run can't be followed from here any more. */
export const GONE = new Set(["not_found", "invalid_cursor"]);

/** @param {Frame} frame @returns {frame is RunEvent} also for types this client has never heard of */
export const isEvent = (frame) => typeof frame.seq === "number" && typeof frame.run_id === "string";

/** @param {Frame} frame whether nothing follows this frame in its run */
export function isLast(frame) {
  if (frame.type === "agent_completed") return true;
  const snapshot = frame.type === "gap" ? (frame.snapshot ?? {}) : {};
  return TERMINAL.has(snapshot.status) && (snapshot.last_seq ?? 0) <= frame.missed_to;
}

export class Cursors {
  /** @type {Map<string, Place>} */
  #runs = new Map();
  /** @type {Map<string, Set<string>>} the runs of each unanswered resume, by its id */
  #resumes = new Map();
  /** @type {Set<string>} runs whose resume the server could not answer: asked for again with the next head */
  #putOff = new Set();
  /** @type {Set<string>} */
  #unacknowledged = new Set();
  #received = 0;
  #resumeCount = 0;

  get catchingUp() {
    return this.#resumes.size > 0 || this.#putOff.size > 0;
  }

  /** How many events the server is known to have that are not here yet. */
  get behind() {
    let missing = 0;
    for (const { cursor, head, ended } of this.#runs.values()) if (!ended) missing += Math.max(0, head - cursor);
    return missing;
  }

  /** Event frames since the last acknowledgement. */
  get unacknowledged() {
    return this.#received;
  }

  /** @param {string} runId @returns {Readonly<Place> | undefined} */
  place(runId) {
    return this.#runs.get(runId);
  }

  /** What has come up to this seq another way. @param {string} runId @param {number} seq */
  skip(runId, seq) {
    const place = this.#know(runId, seq);
    place.cursor = Math.max(place.cursor, seq);
  }

  /** The next resume of this run starts at its first event. @param {string} runId */
  forget(runId) {
    this.#runs.delete(runId);
    this.#unacknowledged.delete(runId);
  }

  /** @param {Frame} frame @returns {Outcome} */
  receive(frame) {
    if (isEvent(frame)) return this.#event(frame);
    switch (frame.type) {
      case "connection_established":
        return this.#established(frame.runs ?? []);
      case "head":
        return this.#heads(frame.runs ?? {});
      case "run_accepted":
        return this.#accepted(frame);
      case "caught_up":
        this.#resumes.delete(frame.id);
        return { events: [], send: [] };
      case "gap":
        return this.#gap(frame);
      case "error":
        return this.#error(frame);
      default:
        return { events: [], send: [] };
    }
  }

  /**
   * A resume for these runs, each from its cursor (0 for one not known yet); none for one already being resumed.
   * @param {string[]} runIds @returns {Frame[]}
   */
  resume(runIds) {
    const wanted = [...new Set(runIds)].filter((runId) => !this.#isResuming(runId));
    return wanted.length ? [this.replay(wanted)] : [];
  }

  /**
   * A resume also for runs that are being resumed: that replay may be past what is wanted.
   * @param {string[]} runIds @returns {Frame}
   */
  replay(runIds) {
    const id = `resume_${++this.#resumeCount}`;
    this.#resumes.set(id, new Set(runIds));
    const cursors = Object.fromEntries(runIds.map((runId) => [runId, this.#know(runId, 0).cursor]));
    return { type: "resume", id, cursors };
  }

  /** What to acknowledge now. @returns {Frame[]} */
  acknowledge() {
    const cursors = Object.fromEntries(
      [...this.#unacknowledged].map((runId) => [runId, this.#runs.get(runId)?.cursor ?? 0]),
    );
    this.#unacknowledged.clear();
    this.#received = 0;
    return Object.keys(cursors).length ? [{ type: "ack", cursors }] : [];
  }

  /** @param {RunEvent} event @returns {Outcome} */
  #event(event) {
    const place = this.#know(event.run_id, event.seq);
    this.#unacknowledged.add(event.run_id);
    this.#received += 1;
    if (event.seq <= place.cursor) return { events: [], send: [] };
    if (event.seq > place.cursor + 1) return { events: [], send: this.resume([event.run_id]) };
    place.cursor = event.seq;
    place.ended = isLast(event);
    return { events: [event], send: [] };
  }

  /** A new connection: what is live but not here, and what was live when the last one went. @param {any[]} live */
  #established(live) {
    this.#resumes.clear();
    this.#putOff.clear();
    this.#unacknowledged.clear();
    this.#received = 0;
    const listed = new Set(live.map((run) => run.run_id));
    for (const run of live) this.#know(run.run_id, run.last_seq);
    const lacking = [...this.#runs]
      .filter(([runId, place]) => !place.ended && (place.head > place.cursor || !listed.has(runId)))
      .map(([runId]) => runId);
    return { events: [], send: this.resume(lacking) };
  }

  /** @param {Record<string, number>} heads @returns {Outcome} */
  #heads(heads) {
    const lacking = Object.entries(heads)
      .filter(([runId, head]) => head > this.#know(runId, head).cursor)
      .map(([runId]) => runId);
    const wanted = [...lacking, ...this.#putOff];
    this.#putOff.clear();
    return { events: [], send: this.resume(wanted) };
  }

  /** @param {Frame} frame @returns {Outcome} */
  #accepted(frame) {
    const isNew = !this.#runs.has(frame.run_id);
    this.#know(frame.run_id, 0);
    // A duplicate may have run, or even ended, while nobody here was listening.
    return { events: [], send: frame.duplicate && isNew ? this.resume([frame.run_id]) : [] };
  }

  /** @param {Frame} frame @returns {Outcome} */
  #gap(frame) {
    const place = this.#know(frame.run_id, frame.missed_to);
    this.#unacknowledged.add(frame.run_id);
    if (frame.missed_to <= place.cursor) return { events: [], send: [] };
    place.cursor = frame.missed_to;
    place.ended = isLast(frame);
    return { events: [frame], send: [] };
  }

  /** @param {Frame} frame @returns {Outcome} */
  #error(frame) {
    if (frame.run_id && GONE.has(frame.code)) {
      this.forget(frame.run_id);
    } else if (!frame.request_id && !frame.run_id) {
      // It may have answered any of them.
      for (const runIds of this.#resumes.values()) for (const runId of runIds) this.#putOff.add(runId);
      this.#resumes.clear();
    }
    return { events: [], send: [] };
  }

  /** @param {string} runId @param {number} head @returns {Place} */
  #know(runId, head) {
    let place = this.#runs.get(runId);
    if (!place) this.#runs.set(runId, (place = { cursor: 0, head: 0, ended: false }));
    place.head = Math.max(place.head, head ?? 0);
    return place;
  }

  /** @param {string} runId */
  #isResuming(runId) {
    return [...this.#resumes.values()].some((runIds) => runIds.has(runId));
  }
}
