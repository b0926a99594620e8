// @ts-check
/**
 * One message and the run that answers it, as the reader sees them. render() is called in an animation frame.
 *
 * @import {RunState} from "./run-state.js"
 * @typedef {{now: number, online: boolean}} Present  now: server time, ms
 * @typedef {{onCancel: (view: RunView) => void, onRetry: (view: RunView) => void, onDirty: (view: RunView) => void,
 *   onDecide: (view: RunView, approval: any, decision: "approve" | "reject") => void}} Actions
 */
import { h, setText } from "./dom.js";
import { activity, counted, duration, outcome, ticking } from "./format.js";
import { MarkdownBlocks } from "./markdown.js";
import { StepList, block } from "./step-view.js";

const MARKDOWN_EVERY_MS = 100;
const FOLD_FINISHED_STEPS = 12;

export class RunView {
  #actions;
  #message = h("div", { class: "message", dir: "auto" });
  #attachment = h("p", { class: "message-attachment", hidden: true });
  #agent = h("span", { class: "agent-name" });
  #status = h("span", { class: "status" });
  #clock = h("span", { class: "clock" });
  #heard = h("span", { class: "heard" });
  #cancel = h("button", { type: "button", class: "quiet cancel", textContent: "Cancel", hidden: true });
  #stepsTitle = h("summary", {});
  #steps;
  #stepsBox;
  #answers = h("div", { class: "answers" });
  /** @type {MarkdownBlocks[]} the messages' and, after them, the result's */
  #markdown = [];
  #markdownLength = -1;
  #markdownNotBefore = 0;
  #result = h("div", { class: "result", hidden: true });
  #end = h("footer", { class: "run-end", hidden: true });
  #card;
  #wasLive = true;
  #foldedByReader = false;

  /** @param {RunState} state @param {Actions} actions */
  constructor(state, actions) {
    this.state = state;
    this.#actions = actions;
    this.#steps = new StepList({
      onChange: () => actions.onDirty(this),
      onDecide: (approval, decision) => actions.onDecide(this, approval, decision),
    });
    this.#stepsBox = h("details", { class: "activity", open: true, hidden: true }, this.#stepsTitle, this.#steps.element);
    this.#stepsTitle.addEventListener("click", () => (this.#foldedByReader = true));
    this.#cancel.onclick = () => actions.onCancel(this);
    this.#card = h("section", { class: "run", "aria-label": `Run of ${state.agentName}` },
      h("header", { class: "run-head" },
        h("span", { class: "run-icon", "aria-hidden": "true" }), this.#agent, this.#status, this.#clock, this.#heard, this.#cancel),
      this.#stepsBox, this.#answers, this.#result, this.#end);
    this.element = h("article", { class: "turn" },
      h("div", { class: "user" }, this.#message, this.#attachment), this.#card);
  }

  /** @param {Present} present */
  render(present) {
    const { state } = this;
    this.element.dataset.run = state.runId ?? "";
    this.#card.dataset.state = state.status ?? "live";
    this.#card.setAttribute("aria-busy", String(state.isLive));
    setText(this.#agent, state.agentName);
    setText(this.#message, state.message);
    this.#message.hidden = !state.message;
    this.#renderAttachment();
    this.#renderSteps();
    this.#proceedDrawing();
    this.#renderAnswers();
    this.tick(present);
    if (this.#wasLive && !state.isLive) this.#renderEnd();
    if (this.#markdown.some((blocks) => !blocks.isDrawn)) this.#actions.onDirty(this);
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
  }

  #renderAttachment() {
    const name = this.state.params?.filename;
    this.#attachment.hidden = !name;
    if (name) setText(this.#attachment, String(name));
  }

  #renderSteps() {
    const { steps, changedSteps, toolCount } = this.state;
    this.#stepsBox.hidden = steps.length === 0;
    const tools = toolCount ? ` · ${counted(toolCount, "tool call")}` : "";
    setText(this.#stepsTitle, `${counted(steps.length, "step")}${tools}`);
    this.#steps.update(steps, changedSteps);
    changedSteps.clear();
  }

  /** At most ten times a second, and less often when drawing is slow. */
  #renderAnswers() {
    const { messages, isLive } = this.state;
    const length = messages.reduce((sum, message) => sum + message.text.length, 0);
    if (length === this.#markdownLength && (isLive || !this.#wasLive)) return;
    const started = performance.now();
    if (isLive && started < this.#markdownNotBefore) {
      setTimeout(() => this.#actions.onDirty(this), this.#markdownNotBefore - started);
      return;
    }
    this.#markdownLength = length;
    messages.forEach(({ text }, index) => {
      const blocks = (this.#markdown[index] ??= this.#newAnswer(this.#answers));
      if (isLive) blocks.update(text);
      else blocks.finish(text);
    });
    const ended = performance.now();
    this.#markdownNotBefore = ended + Math.max(MARKDOWN_EVERY_MS, 4 * (ended - started));
  }

  /** Texts too long for one frame go on in the next. */
  #proceedDrawing() {
    for (const blocks of this.#markdown) if (!blocks.isDrawn) blocks.proceed();
  }

  /** @param {HTMLElement} parent */
  #newAnswer(parent) {
    const element = h("div", { class: "answer prose", dir: "auto" });
    parent.append(element);
    return new MarkdownBlocks(element);
  }

  #renderEnd() {
    this.#wasLive = false;
    const { state } = this;
    this.#renderResult();
    if (state.steps.length > FOLD_FINISHED_STEPS && !this.#foldedByReader && state.status === "completed") {
      this.#stepsBox.open = false;
    }
    for (const warning of state.warnings) this.#end.append(h("p", { class: "warning", dir: "auto", textContent: warning }));
    if (state.error) this.#end.append(h("p", { class: "error-message", dir: "auto", textContent: state.error.message }));
    const buttons = this.#endButtons();
    if (buttons.length) this.#end.append(h("p", { class: "end-buttons" }, ...buttons));
    this.#end.hidden = !this.#end.childElementCount;
  }

  #renderResult() {
    const output = this.state.unseenOutput;
    if (output === null) {
      const silent = this.state.status === "completed" && !this.state.streamed;
      if (silent) this.#result.append(h("p", { class: "muted", textContent: "It finished without an answer." }));
    } else if (typeof output === "string") {
      const blocks = this.#newAnswer(this.#result);
      blocks.finish(output);
      this.#markdown.push(blocks);
    } else {
      this.#result.append(...block("Result", output));
    }
    this.#result.hidden = !this.#result.childElementCount;
  }

  #endButtons() {
    const { state } = this;
    const buttons = [];
    const text = typeof state.output === "string" ? state.output : state.streamed;
    if (state.status === "completed" && text && navigator.clipboard) {
      const copy = h("button", { type: "button", class: "quiet", textContent: "Copy" });
      copy.onclick = async () => {
        await navigator.clipboard.writeText(text);
        setText(copy, "Copied");
        setTimeout(() => setText(copy, "Copy"), 2000);
      };
      buttons.push(copy);
    }
    if (state.status !== "completed" && state.message) {
      const retry = h("button", { type: "button", class: "secondary", textContent: "Try again" });
      retry.onclick = () => this.#actions.onRetry(this);
      buttons.push(retry);
    }
    return buttons;
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
