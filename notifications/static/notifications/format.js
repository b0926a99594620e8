// @ts-check
/** Numbers and states in words. Pure. */

/** @param {number} ms */
export function duration(ms) {
  if (ms < 1000) return `${Math.max(0, Math.round(ms))} ms`;
  if (ms < 9950) return `${(ms / 1000).toFixed(1)} s`;
  const seconds = Math.round(ms / 1000);
  if (seconds < 60) return `${seconds} s`;
  const rest = (/** @type {number} */ n) => String(n).padStart(2, "0");
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${rest(seconds % 60)} s`;
  return `${Math.floor(seconds / 3600)} h ${rest(Math.floor((seconds % 3600) / 60))} min`;
}

/** Whole seconds, for what ticks. @param {number} ms */
export const ticking = (ms) => (ms < 60_000 ? `${Math.max(0, Math.floor(ms / 1000))} s` : duration(ms));

/** @param {number} ms the local time of day */
export const timeOfDay = (ms) => new Date(ms).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });

/** @param {number} bytes */
export const size = (bytes) => (bytes < 1000 ? counted(bytes, "byte") : `${(bytes / 1000).toFixed(1)} kB`);

/** @param {number} count @param {string} noun */
export const counted = (count, noun) => `${count.toLocaleString("en")} ${noun}${count === 1 ? "" : "s"}`;

/** @param {unknown} value as a person reads it: text as it is, all else as indented JSON */
export const pretty = (value) => (typeof value === "string" ? value : JSON.stringify(value, null, 2));

/** @param {string} text on one line, at most that long @param {number} most */
export function clipped(text, most) {
  const line = text.slice(0, most * 2).replace(/\s+/g, " ").trim();
  return line.length > most || text.length > most * 2 ? `${line.slice(0, most - 1)}…` : line;
}

const TOOL_STATUS = /** @type {Record<string, string>} */ ({
  running: "running",
  success: "done",
  error: "failed",
  timed_out: "timed out",
  cancelled: "cancelled",
});

/** @param {string} status */
export const toolStatus = (status) => TOOL_STATUS[status] ?? status;

/** @param {import("./run-state.js").RunState} run @param {boolean} online @returns {string} what it is doing, in words */
export function activity(run, online) {
  switch (run.stage) {
    case "loading":
      return "Loading";
    case "sending":
      return online ? "Sending" : "Queued: it will be sent when the connection is back";
    case "waiting":
      return "Queued: the server is busy, it will be sent shortly";
    case "queued":
      return run.queuePosition ? `Waiting, ${counted(run.queuePosition, "run")} before it` : "Waiting to start";
    case "starting":
      return "Starting";
    case "thinking":
      return "Thinking";
    case "tool":
      return `Using ${run.toolsRunning.at(-1)?.name ?? "a tool"}`;
    case "writing":
      return "Writing the answer";
    case "approval":
      return "Waiting for your approval";
    case "recovering":
      return "Taken over by another worker";
    case "cancelling":
      return "Cancelling…";
    default:
      return "Working";
  }
}

/** @param {import("./run-state.js").RunState} run how it ended, in words */
export function outcome(run) {
  const took = run.tookMs === null ? "" : ` ${duration(run.tookMs)}`;
  switch (run.status) {
    case "completed":
      return took ? `Completed in${took}` : "Completed";
    case "failed":
      return took ? `Failed after${took}` : "Failed";
    case "timed_out":
      return took ? `Timed out after${took}` : "Timed out";
    case "cancelled":
      return took ? `Cancelled after${took}` : "Cancelled";
    case "lost":
      return "Lost: its worker stopped and it could not be taken over";
    case "gone":
      return "No longer known to the server";
    case "refused":
      return "Not started";
    default:
      return `Ended: ${run.status}`;
  }
}
