// @ts-check
/**
 * What is known of one run: the events so far, folded. No DOM.
 *
 * @typedef {{kind: "thinking", text: string, progress: number | null}} Thought
 * @typedef {{kind: "tool", id: string, name: string, arguments: unknown, status: string, startedAt: number,
 *   durationMs: number | null, result: unknown, error: {code: string, message: string} | null,
 *   note: string, progress: number | null}} Tool
 * @typedef {{kind: "approval", id: string, reason: string, name: string | null, arguments: unknown, expiresAt: number | null,
 *   decision: string | null, answered: "here" | "elsewhere" | null}} Approval  answered: where, if this page has seen it open
 * @typedef {{kind: "note", text: string}} Note
 * @typedef {Thought | Tool | Approval | Note} Step
 * @typedef {{id: string, text: string}} Message
 * @typedef {"loading" | "sending" | "waiting" | "queued" | "starting" | "thinking" | "tool" | "writing" | "approval" | "recovering" | "cancelling"} Stage
 */

export class RunState {
  /** @type {string | null} */ runId = null;
  /** @type {string | null} */ threadId = null;
  /** @type {string | null} */ parentRunId = null;
  /** @type {string | null} the page's name for the thread-to-be, if it was sent from here */ conversation = null;
  /** @type {Stage} */ stage = "sending";
  /** @type {string | null} how it ended, or null while it lives; "refused" if it never became a run, "gone" if it can't be followed */
  status = null;
  queuePosition = 0;
  /** @type {number | null} server time, ms */ startedAt = null;
  /** @type {number | null} server time, ms */ lastEventAt = null;
  /** @type {number | null} */ tookMs = null;
  /** @type {Step[]} */ steps = [];
  /** @type {Message[]} */ messages = [];
  /** @type {Set<Step>} changed since the view last looked */ changedSteps = new Set();
  /** @type {unknown} */ output = null;
  /** @type {string[]} */ warnings = [];
  /** @type {{code: string, message: string} | null} */ error = null;
  /** @type {Record<string, unknown> | undefined} as sent if it was sent from here, else without secrets */ params;
  cancelRequested = false;
  /** It had ended before this page heard of it. */ isHistory = false;
  /** @type {Map<string, Tool>} */ #tools = new Map();
  /** @type {Map<string, Approval>} */ #approvals = new Map();

  /** @param {{agentName: string, message?: string, params?: Record<string, unknown>}} start */
  constructor({ agentName, message = "", params }) {
    this.agentName = agentName;
    this.message = message;
    this.params = params;
  }

  get isLive() {
    return this.status === null;
  }

  /** @returns {string | undefined} the run that the server has of it, whole */
  get madeRun() {
    return this.runId === null || this.status === "gone" ? undefined : this.runId;
  }

  /** @returns {Tool[]} */
  get toolsRunning() {
    return [...this.#tools.values()].filter((tool) => tool.status === "running");
  }

  get toolCount() {
    return this.#tools.size;
  }

  get streamed() {
    return this.messages.map((message) => message.text).join("\n\n");
  }

  /** The final output if it says more than what was streamed; else null. */
  get unseenOutput() {
    if (typeof this.output !== "string") return this.output ?? null;
    const said = [this.streamed, this.messages.map(({ text }) => text).join(""), this.messages.at(-1)?.text ?? ""];
    return said.some((text) => text.trim() === String(this.output).trim()) ? null : this.output;
  }

  /** @returns {Approval[]} those that wait for an answer */
  get openApprovals() {
    return this.isLive ? [...this.#approvals.values()].filter((approval) => !approval.decision) : [];
  }

  /** @param {any} run as its thread lists it; its events are still to come */
  summarised(run) {
    this.runId = run.run_id;
    this.threadId ??= run.thread_id;
    this.parentRunId = run.parent_run_id;
    this.message ||= run.message;
    this.params ??= run.params;
    if (this.stage !== "sending") return;
    this.stage = run.status === "pending" ? "queued" : "loading";
    this.isHistory = !["pending", "running"].includes(run.status);
  }

  /** The server has no time for it yet. */
  waiting() {
    this.stage = "waiting";
  }

  /** @param {any} frame run_accepted */
  accepted(frame) {
    this.runId = frame.run_id;
    this.threadId = frame.thread_id;
    this.queuePosition = frame.queue_position;
    if (this.stage === "sending" || this.stage === "waiting") this.stage = "queued";
  }

  /** @param {any} run as connection_established lists it */
  listed(run) {
    this.runId = run.run_id;
    this.threadId = run.thread_id;
    if (this.stage === "sending") this.stage = run.status === "pending" ? "queued" : "starting";
  }

  /** @param {{code: string, message: string}} error instead of run_accepted */
  refused({ code, message }) {
    this.status = "refused";
    this.error = { code, message };
  }

  /** The server does not know it any more. */
  gone() {
    this.status = "gone";
  }

  /** @param {any} event the next of this run, or a gap */
  apply(event) {
    if (event.type === "gap") return this.#gap(event);
    const at = Date.parse(event.timestamp);
    this.runId = event.run_id;
    this.threadId = event.thread_id;
    this.parentRunId = event.parent_run_id ?? null;
    this.lastEventAt = at;
    const { data } = event;
    switch (event.type) {
      case "agent_started":
        this.message ||= data.message ?? "";
        this.startedAt ??= at;
        return this.#enter("starting");
      case "agent_thinking":
        this.#add({ kind: "thinking", text: data.reasoning, progress: data.progress_percentage ?? null });
        return this.#enter("thinking");
      case "tool_executing":
        return this.#toolExecuting(data, at);
      case "tool_progress":
        return this.#toolChanged(data, { note: data.message, progress: data.progress_percentage ?? null });
      case "tool_completed":
        return this.#toolCompleted(data);
      case "partial_result":
        return this.#partial(data);
      case "approval_requested":
        return this.#approvalRequested(data);
      case "approval_resolved":
        return this.#approvalResolved(data);
      case "run_recovered":
        this.#add({ kind: "note", text: `Another worker took over (attempt ${data.attempt}): ${data.reason}` });
        return this.#enter("recovering");
      case "agent_completed":
        return this.#completed(data);
    }
  }

  cancelling() {
    this.cancelRequested = true;
    this.#enter("cancelling");
  }

  /** @param {Stage} stage */
  #enter(stage) {
    this.stage = this.cancelRequested ? "cancelling" : stage;
  }

  /** @param {Step} step */
  #add(step) {
    this.steps.push(step);
  }

  /** @param {any} data @param {number} at */
  #toolExecuting(data, at) {
    /** @type {Tool} */
    const tool = { kind: "tool", id: data.tool_call_id, name: data.tool_name, arguments: data.arguments,
      status: "running", startedAt: at, durationMs: null, result: null, error: null, note: "", progress: null };
    this.#tools.set(tool.id, tool);
    this.#add(tool);
    this.#enter("tool");
  }

  /** @param {any} data @param {Partial<Tool>} change */
  #toolChanged(data, change) {
    const tool = this.#tools.get(data.tool_call_id);
    if (!tool) return;
    this.changedSteps.add(Object.assign(tool, change));
  }

  /** @param {any} data */
  #toolCompleted(data) {
    this.#toolChanged(data, { status: data.status, durationMs: data.duration_ms, result: data.result ?? null,
      error: data.error ?? null, note: "", progress: null });
    if (this.stage === "tool" && !this.toolsRunning.length) this.#enter("thinking");
  }

  /** @param {any} data */
  #partial(data) {
    if (this.messages.at(-1)?.id !== data.message_id) this.messages.push({ id: data.message_id, text: "" });
    this.messages[this.messages.length - 1].text += data.delta;
    this.#enter(data.is_complete ? "thinking" : "writing");
  }

  /** After a recovery an open one is told again. @param {any} data */
  #approvalRequested(data) {
    if (!this.#approvals.has(data.approval_id)) {
      /** @type {Approval} */
      const approval = { kind: "approval", id: data.approval_id, reason: data.reason, name: data.tool_name, arguments: data.arguments,
        expiresAt: Date.parse(data.expires_at) || null, decision: null, answered: null };
      this.#approvals.set(approval.id, approval);
      this.#add(approval);
    }
    this.#enter("approval");
  }

  /** @param {any} data */
  #approvalResolved(data) {
    const approval = this.#approvals.get(data.approval_id);
    if (approval) {
      this.changedSteps.add(Object.assign(approval, { decision: data.decision, arguments: data.arguments }));
    }
    this.#enter(this.openApprovals.length ? "approval" : "thinking");
  }

  /** @param {any} data */
  #completed(data) {
    this.status = data.status;
    this.output = data.result?.output ?? null;
    this.warnings = data.result?.warnings ?? [];
    this.error = data.error ?? null;
    this.tookMs = data.execution_time_ms ?? null;
  }

  /** @param {any} gap */
  #gap({ missed_from, missed_to, snapshot }) {
    this.#add({ kind: "note", text: `Steps ${missed_from} to ${missed_to} are no longer kept.` });
    this.message ||= snapshot?.message ?? "";
    if (!["completed", "failed", "timed_out", "cancelled", "lost"].includes(snapshot?.status)) return;
    this.status = snapshot.status;
    this.output = snapshot.result?.output ?? null;
    this.warnings = snapshot.result?.warnings ?? [];
    this.error = snapshot.error ?? null;
  }
}
