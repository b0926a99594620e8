// @ts-check
/**
 * One message and the run that answers it, as the reader sees them. render() is called in an animation frame.
 *
 * @import {RunState} from "./run-state.js"
 * @import {Approval} from "./run-state.js"
 * @import {Said} from "./approval-view.js"
 * @import {TabMemory} from "./tab-memory.js"
 * @typedef {{now: number, online: boolean}} Present  now: server time, ms
 * @typedef {{onCancel: (view: RunView) => void, onRetry: (view: RunView) => void, onDirty: (view: RunView) => void,
 *   onDecide: (view: RunView, approval: Approval, said: Said) => Promise<unknown>, memory: TabMemory}} Actions
 */
import { AnswerView } from "./answer-view.js";
import { ApprovalList } from "./approval-list.js";
import { h, setText } from "./dom.js";
import { activity, counted, duration, outcome, ticking } from "./format.js";
import { icon } from "./icons.js";
import { endButtons } from "./run-buttons.js";
import { StepList } from "./step-view.js";

const MARKS = /** @type {Record<string, import("./icons.js").IconName>} */ ({ completed: "check", cancelled: "minus" });

export class RunView {
  #actions;
  #message = h("div", { class: "message", dir: "auto" });
  #attachment = h("p", { class: "message-attachment", hidden: true });
  #mark = h("span", { class: "run-mark" });
  #agent = h("span", { class: "agent-name" });
  #status = h("span", { class: "status" });
  #clock = h("span", { class: "clock" });
  #heard = h("span", { class: "heard" });
  #cancel = h("button", { type: "button", class: "secondary cancel", hidden: true }, icon("stop"), "Cancel");
  #stepsTitle = h("span", {});
  #steps;
  #stepsBox;
  #children = h("div", { class: "children" });
  #answer;
  #approvals;
  #end = h("footer", { class: "run-end", hidden: true });
  #card;
  #wasLive = true;
  #touched = false;

  /** @param {RunState} state @param {Actions} actions */
  constructor(state, actions) {
    this.state = state;
    this.#actions = actions;
    const onDirty = () => actions.onDirty(this);
    this.#steps = new StepList(onDirty);
    this.#approvals = new ApprovalList(actions.memory, (...said) => actions.onDecide(this, ...said));
    this.#answer = new AnswerView(onDirty);
    this.#stepsBox = h("details", { class: "activity", open: true, hidden: true },
      h("summary", {}, h("span", { class: "fold" }, icon("chevron")), this.#stepsTitle), this.#steps.element);
    this.#stepsBox.addEventListener("click", () => (this.#touched = true));
    this.#cancel.onclick = () => actions.onCancel(this);
    this.#card = h("section", { class: "run", tabIndex: -1, "aria-label": `Run of ${state.agentName}` },
      h("header", { class: "run-head" }, this.#mark, this.#agent, this.#status, this.#clock, this.#heard, this.#cancel),
      this.#stepsBox, this.#children, this.#answer.element, this.#approvals.element, this.#end);
    this.element = h("article", { class: "turn" }, h("div", { class: "user" }, this.#message, this.#attachment), this.#card);
  }

  /** Shows the run that this one has started inside it. @param {RunView} child */
  adopt(child) {
    if (child.element.parentElement === this.#children) return;
    child.element.classList.add("nested");
    const isLater = (/** @type {Element} */ each) => each instanceof HTMLElement && String(each.dataset.run) > String(child.state.runId);
    const later = [...this.#children.children].find(isLater);
    this.#children.insertBefore(child.element, later ?? null);
  }

  /** @param {Present} present */
  render(present) {
    const { state } = this;
    this.element.dataset.run = state.runId ?? "";
    this.#card.setAttribute("aria-busy", String(state.isLive));
    this.#renderMark();
    setText(this.#agent, state.agentName);
    setText(this.#message, state.message);
    this.#message.hidden = !state.message;
    this.#renderAttachment();
    if (this.#approvals.update(state.openApprovals)) this.#card.focus({ preventScroll: true });
    this.#renderSteps();
    this.#answer.render(state);
    this.tick(present);
    if (this.#wasLive && !state.isLive) this.#renderEnd();
  }

  /** What changes by the second. @param {Present} present */
  tick({ now, online }) {
    const { state } = this;
    setText(this.#status, state.isLive ? activity(state, online) : outcome(state));
    this.#cancel.hidden = !state.isLive || !state.runId;
    this.#cancel.disabled = state.cancelRequested;
    const running = state.isLive && state.startedAt !== null;
    setText(this.#clock, running ? ticking(now - /** @type {number} */ (state.startedAt)) : "");
    setText(this.#heard, running ? lastActivity(now - /** @type {number} */ (state.lastEventAt)) : "");
    this.#approvals.tick({ now, online });
  }

  #renderMark() {
    const shown = this.state.status ?? "live";
    if (this.#card.dataset.state === shown) return;
    this.#card.dataset.state = shown;
    this.#mark.replaceChildren(this.state.isLive ? h("span", { class: "spinner" }) : icon(MARKS[shown] ?? "cross"));
  }

  #renderAttachment() {
    const name = this.state.params?.filename;
    this.#attachment.hidden = !name;
    if (name && !this.#attachment.childElementCount) this.#attachment.append(icon("table"), h("span", { dir: "auto", textContent: String(name) }));
  }

  #renderSteps() {
    const { steps, changedSteps, toolCount } = this.state;
    this.#stepsBox.hidden = steps.length === 0;
    const tools = toolCount ? ` · ${counted(toolCount, "tool call")}` : "";
    setText(this.#stepsTitle, `${counted(steps.length, "step")}${tools}`);
    this.#steps.update(steps, changedSteps);
    changedSteps.clear();
  }

  /** A run that answered shows its answer; how it came about is folded, unless the reader is at it. */
  #renderEnd() {
    this.#wasLive = false;
    const { state } = this;
    this.#answer.end(state);
    this.#answer.render(state);
    const isBusy = this.#touched || this.#stepsBox.contains(document.activeElement);
    if (state.status === "completed" && this.#answer.element.childElementCount && !isBusy) this.#stepsBox.open = false;
    for (const warning of state.warnings) this.#end.append(h("p", { class: "warning", dir: "auto", textContent: warning }));
    if (state.error) this.#end.append(h("p", { class: "error-message", dir: "auto", textContent: state.error.message }));
    const buttons = endButtons(state, () => this.#actions.onRetry(this));
    if (buttons.length) this.#end.append(h("p", { class: "end-buttons" }, ...buttons));
    this.#end.hidden = !this.#end.childElementCount;
  }
}

/** @param {number} ms */
const lastActivity = (ms) => (ms < 2000 ? "active now" : `last activity ${ticking(ms)} ago`);

/** One sentence for a screen reader. @param {RunState} state */
export function announcement(state) {
  const why = state.error ? ` ${state.error.message}` : "";
  const took = state.tookMs === null ? "" : ` in ${duration(state.tookMs)}`;
  return state.status === "completed" ? `${state.agentName} has answered${took}.` : `${state.agentName}: ${outcome(state)}.${why}`;
}
